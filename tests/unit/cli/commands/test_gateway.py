"""`pushcore gateway` without a listener: what it makes of its options, and what it serves. tests/e2e has the service itself."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from pushcore.cli.commands import gateway as command
from pushcore.gateway import serving
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import GatewayConfig

from ..credentials import KEY
from .conftest import Run

CONFIG = """
[[app]]
id = "shop"

[[app.apns]]
key = "key.p8"
key-id = "ABC123DEFG"
team-id = "TEAM123456"
topics = ["com.example.shop"]

[[caller]]
name = "web"
tokens = ["{digest}"]
apps = ["shop"]
""".replace("{digest}", "ab" * 32)

Served = list[tuple[GatewayConfig, Callable[[], GatewayConfig] | None]]


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "gateway.toml").write_text(CONFIG)
    return str(tmp_path / "gateway.toml")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """What would have been served, on port 4321; and the loggers as they were."""
    calls: Served = []

    async def serve(
        config: GatewayConfig,
        reread: Callable[[], GatewayConfig] | None = None,
        on_ready: Callable[[int], None] = print,
    ) -> None:
        calls.append((config, reread))
        on_ready(4321)

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(command, "loop_factory", lambda: asyncio.new_event_loop)
    monkeypatch.setattr(command, "relax_collector", lambda: None)
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    handlers, levels = list(root.handlers), (root.level, uvicorn.level)
    yield calls
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    uvicorn.setLevel(levels[1])


@pytest.mark.parametrize(
    "arguments",
    [[], ["--demo", "--new-sealing-key"], ["--config", "a", "--demo"], ["--new-token", "a", "--demo"]],
)
def test_it_does_one_thing_at_a_time(run: Run, arguments: list[str]) -> None:
    words = "expected one of --config FILE, --demo, --new-token NAME and --new-sealing-key"
    assert run("gateway", *arguments) == (2, "", f"pushcore: {words}\n")


def test_a_library_that_is_missing_is_named_with_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "msgspec" else there(name))
    words = 'the gateway needs libraries that are not installed; pip install "pushcore[gateway]"'
    assert run("gateway", "--demo") == (2, "", f"pushcore: {words}\n")


def test_a_new_token_is_shown_once_and_the_config_has_its_digest(run: Run) -> None:
    status, out, error = run("gateway", "--new-token", "web-1")
    shown = re.fullmatch(r"token of web-1, shown once: (\S+)\n", error)
    assert shown is not None
    assert (status, out) == (0, f'[[caller]]\nname = "web-1"\ntokens = ["{digest_of(shown[1])}"]\n')


@pytest.mark.parametrize("name", ["", "two words", 'a"b', "x" * 65])
def test_a_name_that_no_config_takes_gets_no_token(run: Run, name: str) -> None:
    words = "a caller's name is of letters, digits, dots, dashes and underscores, 64 at most"
    assert run("gateway", "--new-token", name) == (2, "", f"pushcore: {words}\n")


def test_a_sealing_key_is_another_each_time(run: Run) -> None:
    keys = [run("gateway", "--new-sealing-key") for _ in range(2)]
    assert [(status, error) for status, _, error in keys] == [(0, ""), (0, "")]
    assert keys[0][1] != keys[1][1]
    assert all(len(out.strip()) > 30 for _, out, _ in keys)


# --- serving ----------------------------------------------------------------------------------------------------------


def test_a_config_that_trusts_every_client_is_warned_of(run: Run, config: str, served: Served) -> None:
    Path(config).write_text(CONFIG + '[server]\ntrusted-proxies = ["0.0.0.0/0"]\n')
    for arguments in (["--check"], []):
        status, _, said = run("gateway", "--config", config, *arguments)
        assert status == 0
        assert said.startswith(f"pushcore: {config}:16: trusted-proxies contains all IPv4 addresses")
    assert len(served) == 1


def test_a_config_is_only_read_with_check(run: Run, config: str, served: Served) -> None:
    assert run("gateway", "--config", config, "--check") == (
        0,
        "",
        f"pushcore: {config}: 1 apps, 1 callers\n",
    )
    assert served == []


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot be read"), ("[server]\nport = 70000", "gateway.toml:2: ")]
)
def test_a_mistake_in_the_config_is_one_sentence_before_anything_listens(
    run: Run, config: str, served: Served, text: str | None, words: str
) -> None:
    if text is None:
        Path(config).unlink()
    else:
        Path(config).write_text(text)
    status, out, error = run("gateway", "--config", config)
    assert (status, out, error.count("\n")) == (2, "", 1)
    assert words in error
    assert served == []


def test_it_serves_and_reads_the_config_again_when_asked(run: Run, config: str, served: Served) -> None:
    assert run("gateway", "--config", config) == (0, "", "pushcore: the gateway listens on 127.0.0.1:4321\n")
    ((first, reread),) = served
    assert (first.server.port, [app.id for app in first.app]) == (8080, ["shop"])
    assert reread is not None
    Path(config).write_text(CONFIG.replace("shop", "store"))
    assert [app.id for app in reread().app] == ["store"]
    assert logging.getLogger("uvicorn").level == logging.CRITICAL


def test_the_collector_searches_rarely_once_everything_is_loaded(
    run: Run, config: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    relaxed: list[int] = []
    monkeypatch.setattr(command, "relax_collector", lambda: relaxed.append(len(served)))
    run("gateway", "--config", config, "--check")
    assert relaxed == []
    run("gateway", "--config", config)
    assert relaxed == [0]


def test_a_port_of_the_command_line_goes_before_the_configs_each_time(
    run: Run, config: str, served: Served
) -> None:
    run("gateway", "--config", config, "--port", "0")
    ((first, reread),) = served
    assert reread is not None
    assert (first.server.port, reread().server.port) == (0, 0)


@pytest.mark.parametrize(("host", "shown"), [("::1", "[::1]"), ("localhost", "localhost")])
def test_where_it_listens_can_be_copied_into_a_url(
    capsys: pytest.CaptureFixture[str], host: str, shown: str
) -> None:
    command._announce(host, 80)
    assert capsys.readouterr().err == f"pushcore: the gateway listens on {shown}:80\n"


# --- the demo ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """What the fake servers were told; they are no process. And the handlers of signals as they were."""
    said: list[str] = []
    (tmp_path / "key.p8").write_bytes(KEY)
    key = {"key_file": str(tmp_path / "key.p8"), "key_id": "ABC123DEFG", "team_id": "TEAM123456"}
    where = {"url": "https://127.0.0.1:1", "ca_file": "ca.pem"}

    class Fake:
        control = "http://127.0.0.1:9"
        apns: ClassVar[dict[str, str]] = {**key, "topic": "com.example.app", **where}
        fcm: ClassVar[dict[str, str]] = {"service_account_file": "account.json", **where}

        def __init__(self, place: Path, service: str, *options: str) -> None:
            said.append(f"start {service} {' '.join(options)}")

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *_: object) -> None:
            said.append("end")

    monkeypatch.setattr(command, "FakeProcess", Fake)
    monkeypatch.setattr(command, "needed_extra", lambda: None)
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield said
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("options", "port"), [([], command.DEMO_PORT), (["--port", "0"], 0)])
def test_the_demo_serves_an_app_on_fake_servers_and_shows_what_to_try(
    run: Run, served: Served, fakes: list[str], options: list[str], port: int
) -> None:
    status, out, error = run("gateway", "--demo", *options)
    assert (status, error) == (0, "")
    assert "the gateway listens on 127.0.0.1:4321, the fake servers' page is http://127.0.0.1:9" in out
    body = re.search(r"curl http://127\.0\.0\.1:4321/v1/push -d '(.*)'", out)
    assert body is not None
    assert json.loads(body[1])["to"] == f"{7:064x}"
    assert "EXPO_BASE_URL=http://127.0.0.1:4321" in out
    assert re.search(r"ExponentPushToken\[\S+\]", out)
    ((config, reread),) = served
    assert (config.server.port, config.server.host, reread, config.caller) == (port, "127.0.0.1", None, ())
    assert config.app[0].fcm is not None
    assert (config.app[0].apns[0].topics, config.app[0].fcm.rate) == (("com.example.app",), "none")
    for number in (signal.SIGTERM, signal.SIGHUP):
        assert signal.getsignal(number) is signal.default_int_handler
    assert fakes == ["start all --control-port 0", "end"]


def test_the_demos_keys_are_gone_with_it(run: Run, served: Served, fakes: list[str]) -> None:
    run("gateway", "--demo")
    sealing = served[0][0].sealing
    assert sealing.token_keys is not None
    assert not Path(sealing.token_keys).parent.exists()


def test_without_the_fake_servers_the_demo_says_what_to_install(
    run: Run, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "needed_extra", lambda: "the demo needs the fake servers")
    assert run("gateway", "--demo") == (2, "", "pushcore: the demo needs the fake servers\n")
    assert served == []


def test_ctrl_c_ends_the_demo_and_its_servers(
    run: Run, fakes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(**_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "asyncio", SimpleNamespace(Runner=interrupt))
    assert run("gateway", "--demo")[0] == 1
    assert fakes[-1] == "end"
