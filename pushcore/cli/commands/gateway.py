"""`pushcore gateway`: starts the HTTP service of `pushcore.gateway`, which is imported only when needed."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ...audience.problems import BadInput, printable
from ...engine.collector import relax_collector
from ..process.interrupts import end_by_exception
from ..report.notices import say
from ..run.campaign import loop_factory
from ..run.fake_servers import FakeProcess, needed_extra
from ..sections import add, command, section
from ..statuses import OK, exit_statuses

if TYPE_CHECKING:
    from ...gateway.config import GatewayConfig

HELP = """Serve push over HTTP to programs in any language.

\b
  pushcore gateway --demo           # on fake servers; prints a curl command
  pushcore gateway --new-token web  # a token, and its lines of gateway.toml
  pushcore gateway --config gateway.toml

The config contains apps with their keys, and callers with their tokens. After SIGTERM it finishes its requests and ends.
SIGHUP loads the config and the keys again. Needs the extra pushcore[gateway].

""" + exit_statuses("gateway")

DEMO_PORT: Final = 8080
DEMO_PROJECT: Final = "00000000-0000-4000-8000-000000000000"
_MODULES: Final = ("msgspec", "starlette", "uvicorn", "httptools", "prometheus_client", "httpcore", "anyio")

_gateway = section("Gateway")
_OPTIONS = (
    _gateway("--config", metavar="FILE", help="TOML file with apps and callers."),
    _gateway("--check", is_flag=True, help="Read the config and its keys, and serve nothing."),
    _gateway("--demo", is_flag=True, help="Start fake servers, and serve an app that uses them."),
    _gateway(
        "--port",
        type=click.IntRange(0, 65_535),
        metavar="N",
        help="Instead of the config's port; 0 chooses a free one.",
    ),
    _gateway("--new-token", metavar="NAME", help="Print a token for a caller, and its [[caller]]."),
    _gateway("--new-sealing-key", is_flag=True, help="Print a key for a file that [sealing] names."),
)


@command(help=HELP, short_help="Serve push over HTTP to programs in any language.")
@partial(add, options=_OPTIONS)
def gateway(
    config: str | None,
    check: bool,
    demo: bool,
    port: int | None,
    new_token: str | None,
    new_sealing_key: bool,
) -> int:
    """Runs the command; the exit status."""
    if not all(map(importlib.util.find_spec, _MODULES)):
        raise BadInput('the gateway needs libraries that are not installed; pip install "pushcore[gateway]"')
    if sum((config is not None, demo, new_token is not None, new_sealing_key)) != 1:
        raise BadInput("expected one of --config FILE, --demo, --new-token NAME and --new-sealing-key")
    if new_sealing_key:
        return _new_sealing_key()
    if new_token is not None:
        return _new_token(new_token)
    if demo:
        return _demo(DEMO_PORT if port is None else port)
    assert config is not None
    return _serve(config, port, check)


def _new_token(name: str) -> int:
    from ...gateway.callers import digest_of, new_token
    from ...gateway.config import is_name

    if not is_name(name):
        raise BadInput("a caller's name is of letters, digits, dots, dashes and underscores, 64 at most")
    token = new_token()
    click.echo(f"token of {name}, shown once: {token}", err=True)
    click.echo(f'[[caller]]\nname = "{name}"\ntokens = ["{digest_of(token)}"]')
    return OK


def _new_sealing_key() -> int:
    from ...gateway.expo.sealed import new_key

    click.echo(new_key(os.urandom))
    return OK


def _serve(path: str, port: int | None, check: bool) -> int:
    from ...gateway.config_file import read_config
    from ...gateway.serving import make_server, serve

    def read(*, again: bool = False) -> GatewayConfig:
        config = read_config(path, again=again)
        return config if port is None else config.on_port(port)

    config = read()
    for warning in config.warnings():
        say(warning)
    if check:
        make_server(config)
        say(f"{printable(path)}: {len(config.app)} apps, {len(config.caller)} callers")
        return OK
    _log_to_stderr()
    relax_collector()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(config, partial(read, again=True), partial(_announce, config.server.host)))
    return OK


def _announce(host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    say(f"the gateway listens on {shown}:{port}")


def _log_to_stderr() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    # Warnings about invalid requests, and errors that this command prints itself.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)


# --- the demo ---------------------------------------------------------------------------------------------------------


def _demo(port: int) -> int:
    from ...gateway.serving import serve

    missing = needed_extra()
    if missing is not None:
        raise BadInput(missing)
    with ExitStack() as cleanup:
        place = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="pushcore-gateway-")))
        end_by_exception()
        fake = cleanup.enter_context(FakeProcess(place, "all", "--control-port", "0"))
        config: GatewayConfig = demo_config(fake.apns, fake.fcm, place, port)
        _log_to_stderr()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(serve(config, None, partial(_invite, config, fake.control)))
    return OK


def demo_config(apns: Mapping[str, str], fcm: Mapping[str, str], place: Path, port: int = 0) -> GatewayConfig:
    """The configuration of an app on fake servers, without callers: every program on this machine may send.

    Args:
        apns, fcm: the content of the fakes' apns.json and fcm.json.
        place: a directory for sealing keys.
        port: to listen on, on the loopback address.
    """
    from ...gateway.config import (
        ApnsSection,
        AppSection,
        ExpoSection,
        FcmSection,
        GatewayConfig,
        SealingSection,
        ServerSection,
    )
    from ...gateway.expo.sealed import new_key

    names = ("token_keys", "receipt_keys")
    for name in names:
        (place / name).write_text(new_key(os.urandom))
    app = AppSection(
        id="demo",
        apns=(
            ApnsSection(
                key=apns["key_file"],
                key_id=apns["key_id"],
                team_id=apns["team_id"],
                topics=(apns["topic"],),
                url=apns["url"],
                ca_file=apns["ca_file"],
            ),
        ),
        fcm=FcmSection(
            service_account=fcm["service_account_file"], url=fcm["url"], ca_file=fcm["ca_file"], rate="none"
        ),
        expo=ExpoSection(project_ids=(DEMO_PROJECT,), packages=(apns["topic"],)),
    )
    return GatewayConfig(
        server=ServerSection(port=port),
        sealing=SealingSection(**{name: str(place / name) for name in names}),
        app=(app,),
        source="the demo",
    )


def _invite(config: GatewayConfig, control: str, port: int) -> None:
    from ...gateway.expo.sealed import AppDevice, Sealing
    from ...models.tokens import TokenKind

    token = f"{7:064x}"
    sealed = Sealing.of(config).tokens
    assert sealed is not None
    topic = config.app[0].apns[0].topics[0]
    expo = sealed.seal(AppDevice("demo", TokenKind.APNS, token, topic, "production"))
    click.echo(
        f"the gateway listens on 127.0.0.1:{port}, the fake servers' page is {control}\n\nTo push to a fake phone:\n"
    )
    click.echo(
        f"  curl http://127.0.0.1:{port}/v1/push -d '"
        f'{{"to": "{token}", "payload": {{"title": "Hi", "body": "From the gateway"}}}}\'\n'
    )
    click.echo(
        f"For a program with Expo's SDK: the token of the same phone, and the variable that redirects the SDK for Node:\n\n"
        f"  {expo}\n  EXPO_BASE_URL=http://127.0.0.1:{port}\n"
    )
