"""SIGTERM, SIGHUP and SIGKILL while requests come: no push is sent twice by us, and none is lost that was said to be accepted."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakeservers import FakeApns
from pushcore.gateway.callers import digest_of
from tests.e2e.support import soon
from tests.support.gateway import OTHER_TOKEN, TOKEN
from tests.support.gateway_process import Instance, instance, write_config
from tests.support.key_material import materials
from tests.support.proxy import Balancer

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
WEEKLY = [pytest.mark.weekly, pytest.mark.deadline(550), pytest.mark.timeout(580)]
ROUNDS = [1, pytest.param(10, marks=WEEKLY)]
CLIENTS = 20
ALERT = {"aps": {"alert": "Hi"}}


class Load:
    """Clients that push without a pause, each push to a device of its own. `accepted`: devices whose push was."""

    def __init__(self, instances: list[Instance]) -> None:
        self.instances = instances
        self.accepted: list[str] = []
        self.others: Counter[str] = Counter()
        self.ended = False
        self._number = 0

    async def __aenter__(self) -> Load:
        self._http = httpx.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, timeout=30)
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.ended = True
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    async def _client(self, number: int) -> None:
        while not self.ended and self.instances:
            target = self.instances[number % len(self.instances)]
            self._number += 1
            device = f"{self._number:064x}"
            try:
                body: dict[str, Any] = {"to": device, "payload": ALERT}
                response = await self._http.post(f"{target.url}/v1/push", json=body)
            except httpx.TransportError:
                self.others["no response"] += 1
                if target in self.instances and target.process.returncode is not None:
                    self.instances.remove(target)
                await asyncio.sleep(0.01)
                continue
            verdict = response.json()["verdict"] if response.status_code == 200 else str(response.status_code)
            if verdict == "ACCEPTED":
                self.accepted.append(device)
            else:
                self.others[verdict] += 1


def check(load: Load, fake: FakeApns) -> Counter[str]:
    """What reached the fake, each device once, all that were accepted among them."""
    received = Counter(record.token for record in fake.received)
    assert set(received.values()) == {1}
    assert set(load.accepted) <= set(received)
    return received


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_sigterm_loses_no_request(tmp_path: Path, rounds: int) -> None:
    for _ in range(rounds):
        async with FakeApns(keep=100_000) as fake, instance(write_config(tmp_path, fake)) as one:
            async with Load([one]) as load:
                await soon(lambda: len(load.accepted) > 100)
                one.process.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(one.process.wait(), 20) == 0
            received = check(load, fake)
            assert set(received) == set(load.accepted)  # what was sent has been told
            assert set(load.others) <= {"no response"}


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_sighup_takes_a_new_key_and_loses_no_request(tmp_path: Path, rounds: int) -> None:
    async with FakeApns(keep=100_000) as fake, instance(write_config(tmp_path, fake)) as one:
        async with Load([one]) as load:
            for _ in range(rounds):
                before = len(load.accepted)
                await soon(lambda: len(load.accepted) > before + 50)  # noqa: B023
                key = Path(tmp_path / "again.p8")
                key.write_bytes(Path(fake.key_file).read_bytes() + b"\n" * (before % 97 + 1))
                file = write_config(tmp_path, fake, name="web")
                file.write_text(file.read_text().replace(str(fake.key_file), str(key)))
                one.process.send_signal(signal.SIGHUP)
                await soon(lambda: len(load.accepted) > before + 200)  # noqa: B023
        received = check(load, fake)
        assert set(received) == set(load.accepted)
        assert not load.others
        assert (
            len({record.connection for record in fake.received}) > rounds
        )  # the app with the new key has its own


Change = Callable[[str], str]

MISTAKES: dict[str, tuple[Change, str]] = {
    "syntax": (lambda text: text.replace('id = "shop"', "id = shop"), ":3: Invalid value"),
    "cut off": (lambda text: text[: text.index("topics") + 12], ":8: "),
    "empty": (lambda text: "", ":1: the file has no [[app]]"),
    "unknown key": (lambda text: text.replace("key-id", "keyid"), ":6: unknown key 'keyid' in [app.apns]"),
    "missing key file": (lambda text: text.replace(".p8", ".p9"), ":5: "),
    "certificate for a key": (lambda text: text.replace('key = "', 'key = "gateway.toml" # "'), ":5: "),
    "key in place of its file": (
        lambda text: re.sub(r'(?m)^key = .*', lambda _: f"key = {json.dumps(materials()['p8'])}x", text), ":5: ",
    ),
    "duplicate app": (
        lambda text: text.replace("[[caller]]", text.partition("[[caller]]")[0] + "[[caller]]"),
        ":13: app shop is configured twice; expected different names",
    ),
    "bad caller token": (
        lambda text: text.replace(digest_of(TOKEN), TOKEN), ":13: tokens: expected a string matching",
    ),
    "duplicate caller": (lambda text: text + text[text.index("[[caller]]") :], ": caller web is configured twice"),
    "app without a provider": (lambda text: '[[app]]\nid = "other"\n' + text, ":1: app other has neither"),
    "unknown app of a caller": (lambda text: text + 'apps = ["x"]', ":15: caller web: there is no app x"),
    "bad URL": (lambda text: text.replace("https://", "http://"), ":9: url must look like https://"),
    "missing sealing keys": (lambda text: text + '[sealing]\ntoken-keys = "gone"\n', ": "),
}  # fmt: skip


async def test_sighup_with_a_mistake_changes_nothing_and_is_one_line(tmp_path: Path) -> None:
    async with FakeApns(keep=100_000) as fake:
        file = write_config(tmp_path, fake)
        right = file.read_text()
        async with instance(file) as one, Load([one]) as load:

            async def hang_up() -> list[str]:
                """What is said because of the signal, while requests are served."""
                count, before = len(one.said), len(load.accepted)
                one.process.send_signal(signal.SIGHUP)
                await soon(lambda: any("reloaded" in line for line in one.said[count:]))
                await soon(lambda: len(load.accepted) > before + 20)
                return [line for line in one.said[count:] if not line.startswith("connected to ")]

            for name, (change, words) in MISTAKES.items():
                wrong = change(right)
                assert wrong != right, name
                file.write_text(wrong)
                said = await hang_up()
                assert len(said) == 1, (name, said)
                line = said[0]
                assert line.startswith("not reloaded: "), name
                assert words in line, f"{name}: {line}"
                assert TOKEN not in line, name
                assert materials()["p8"].splitlines()[1] not in line, name
            file.unlink()
            assert await hang_up() == [
                f"not reloaded: {file} cannot be read (No such file or directory); expected a TOML file"
            ]
            file.mkdir()
            assert "Is a directory" in (await hang_up())[0]
            file.rmdir()
            file.write_bytes(b"\xff\xfe")
            assert await hang_up() == [f"not reloaded: {file} is not UTF-8; expected a TOML file"]

            async def accepted(**more: Any) -> bool:
                body: dict[str, Any] = {"to": f"{1 << 64:064x}", "payload": ALERT, **more}
                async with httpx.AsyncClient(headers={"authorization": f"Bearer {OTHER_TOKEN}"}) as http:
                    response = await http.post(f"{one.url}/v1/push", json=body)
                return response.status_code == 200 and response.json()["verdict"] == "ACCEPTED"

            assert not await accepted(app="two")
            app, caller, rest = right.partition("[[caller]]")
            new = caller + rest.replace(digest_of(TOKEN), digest_of(OTHER_TOKEN)).replace("web", "new")
            callers = caller + rest + 'apps = ["shop"]\n'
            file.write_text(app + app.replace('"shop"', '"two"') + callers + new)
            assert await hang_up() == ["reloaded: 2 apps, 1 of them new or changed"]
            assert await accepted(app="two")
            received = {record.token for record in fake.received}
        assert not load.others
        assert f"{1 << 64:064x}" in received


@pytest.mark.parametrize("rounds", ROUNDS)
async def test_sigkill_of_one_of_two_loses_nothing_that_was_accepted(tmp_path: Path, rounds: int) -> None:
    for _ in range(rounds):
        async with FakeApns(keep=100_000) as fake:
            config = write_config(tmp_path, fake)
            async with (
                instance(config) as one,
                instance(config) as two,
                Balancer(one.port, two.port) as proxy,
                Load([Instance(two.process, proxy.url)]) as load,
            ):
                await soon(lambda: len(load.accepted) > 100)
                one.process.kill()
                await one.process.wait()
                before = len(load.accepted)
                await soon(lambda: len(load.accepted) > before + 100)  # noqa: B023
            check(load, fake)
            assert load.others["no response"] <= CLIENTS, "those whose request the dead one had"
            assert set(load.others) <= {"no response"}
