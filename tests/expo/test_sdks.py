"""Expo's SDKs for Node and Python, unmodified, and ten lines of PHP, against the gateway and the strict fakes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from bench.rivals.install import RivalUnavailable, install
from fakeservers import FakeApns, FakeFcm, fated_token
from fakeservers.fcm.fates import fated_registration
from pushcore.gateway.callers import digest_of
from pushcore.gateway.config import CallerSection, GatewayConfig
from pushcore.gateway.expo import routes
from pushcore.gateway.expo.sealed import AppDevice
from pushcore.gateway.expo.tickets import ERRORS
from pushcore.gateway.gateway import Gateway
from pushcore.gateway.serving import make_server
from pushcore.models.tokens import TokenKind
from tests.e2e.fcm_support import registration
from tests.support.expo import expo_config
from tests.support.gateway import OTHER_TOKEN, TOKEN, app_section, config_of

PROGRAMS: Final = Path(__file__).with_name("programs")
DEADLINE: Final = 60.0
ISSUED: Final = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"


@dataclass(frozen=True)
class Sdk:
    """A program, and the packages that it needs."""

    file: Path
    install: tuple[str, ...]


NODE: Final = Sdk(PROGRAMS / "node_sdk.mjs", ("expo-server-sdk@7.2.0",))
PYTHON: Final = Sdk(PROGRAMS / "py_sdk.py", ("exponent-server-sdk==2.2.0",))
with_sdks = pytest.mark.parametrize(
    "sdk",
    [
        pytest.param(
            NODE, id="node", marks=[pytest.mark.needs("node", "npm"), pytest.mark.xdist_group("expo node")]
        ),
        pytest.param(PYTHON, id="python", marks=[pytest.mark.ci, pytest.mark.xdist_group("expo python")]),
    ],
)


def command_of(sdk: Sdk) -> list[str]:
    try:
        return install(sdk, "expo")
    except RivalUnavailable as error:
        pytest.skip(f"{sdk.install[0]}: {error}")


class Site:
    """A gateway on a port, with both fakes. `encodings`: of each request's body, for what a client compresses."""

    def __init__(
        self, apns: FakeApns, fcm: FakeFcm, gateway: Gateway, url: str, encodings: list[str]
    ) -> None:
        self.apns, self.fcm, self.gateway, self.url, self.encodings = apns, fcm, gateway, url, encodings

    def sealed(self, native: str, app: str = "shop") -> str:
        """The token that an app would have got."""
        tokens = self.gateway.sealing.tokens
        assert tokens is not None
        if len(native) == 64:
            return tokens.seal(AppDevice(app, TokenKind.APNS, native, self.apns.topic, "production"))
        return tokens.seal(AppDevice(app, TokenKind.FCM, native))

    def accepted(self) -> list[str]:
        """The native tokens of the pushes that the fakes have accepted."""
        sent = [record.token for record in self.apns.received if record.status == 200]
        for record in self.fcm.received:
            if record.status == 200 and record.path.endswith("messages:send"):
                sent.append(json.loads(record.body)["message"]["token"])
        return sorted(sent)

    async def run(self, command: list[str], *jobs: dict[str, Any]) -> list[Any]:
        """Run a program with jobs; what came of each."""
        defaults: dict[str, Any] = {
            "messages": [],
            "access_token": TOKEN,
            "ids": None,
            "whole": False,
            "headers": {},
        }
        said = await self.output(command, json.dumps([{**defaults, **job} for job in jobs]))
        found: list[Any] = json.loads(said)
        return found

    async def output(self, command: list[str], given: str = "") -> str:
        """Run a program; what it printed."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "EXPO_BASE_URL": self.url, "NO_PROXY": "127.0.0.1"},
        )
        async with asyncio.timeout(DEADLINE):
            out, errors = await process.communicate(given.encode())
        assert process.returncode == 0, errors.decode()
        return out.decode()


@contextlib.asynccontextmanager
async def site(directory: Path) -> AsyncIterator[Site]:
    """Two apps, of which "shop" forwards what Expo has issued to where nothing is; callers of each, of both, and a slow one."""
    async with FakeApns() as apns, FakeFcm() as fcm:
        config = expo_config(apns, fcm, directory, forward="expo", url="https://127.0.0.1:1", timeout=0.2)
        callers = (
            CallerSection(name="web", tokens=(digest_of(TOKEN),), apps=("shop",)),
            CallerSection(name="both", tokens=(digest_of(OTHER_TOKEN),)),
            CallerSection(name="slow", tokens=(digest_of("slow"),), apps=("shop",), rate=2),
            CallerSection(name="broken", tokens=(digest_of("broken"),)),
        )
        apps = (*config.app, app_section(apns, fcm, id="news"))
        async with served(config_of(*apps, callers=callers, sealing=config.sealing)) as (
            gateway,
            url,
            encodings,
        ):
            yield Site(apns, fcm, gateway, url, encodings)


@contextlib.asynccontextmanager
async def served(config: GatewayConfig) -> AsyncIterator[tuple[Gateway, str, list[str]]]:
    """A gateway as uvicorn serves it."""
    server = make_server(config)
    application: Any = server.config.app
    encodings: list[str] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            encodings.append(dict(scope["headers"]).get(b"content-encoding", b"").decode())
        await application(scope, receive, send)

    server.config.app = watched
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server.on_ready = ready.set_result
    task = asyncio.create_task(server.serve())
    try:
        yield application.state.gateway, f"http://127.0.0.1:{await ready}", encodings
    finally:
        server.should_exit = True
        await task


def fates(site: Site) -> dict[str, str]:
    """For each error that a ticket may have, a token that gets it."""
    return {
        "DeviceNotRegistered": site.sealed(fated_token("Unregistered")),
        "MessageTooBig": site.sealed(fated_token("PayloadTooLarge")),
        "MessageRateExceeded": site.sealed(fated_token("TooManyRequests")),
        "MismatchSenderId": site.sealed(fated_registration("SenderIdMismatch")),
        "InvalidCredentials": site.sealed(fated_registration("PermissionDenied")),
        "ProviderError": site.sealed(fated_token("ServiceUnavailable")),
        "DeveloperError": site.sealed(fated_token("BadDeviceToken")),
        "ExpoError": ISSUED,
    }


RAISED: Final = {
    "DeviceNotRegistered": "DeviceNotRegisteredError",
    "MessageTooBig": "MessageTooBigError",
    "MessageRateExceeded": "MessageRateExceededError",
}


@with_sdks
async def test_tickets_chunks_and_receipts(sdk: Sdk, tmp_path: Path) -> None:
    command = command_of(sdk)
    async with site(tmp_path) as here:
        natives = [f"{number:064x}" if number % 2 else registration(number) for number in range(230)]
        messages: list[dict[str, Any]] = [
            {"to": here.sealed(native), "title": "Hi", "body": "\u00e4" * 20, "data": {"number": number}}
            for number, native in enumerate(natives)
        ]
        expected = fates(here)
        assert {*expected} == {*ERRORS}
        messages += [{"to": token, "title": "Hi"} for token in expected.values()]
        (found,) = await here.run(command, {"messages": messages})
        assert found["errors"] == []
        tickets = found["tickets"]
        assert [ticket["status"] for ticket in tickets] == ["ok"] * 230 + ["error"] * 8
        for (name, token), ticket in zip(expected.items(), tickets[230:], strict=True):
            assert (ticket["details"]["error"], ticket["details"]["expoPushToken"]) == (name, token)
        # Three chunks, and one request for receipts. Node compresses all that is larger than a kilobyte.
        assert here.encodings == ["gzip" if sdk is NODE else ""] * 4
        assert {*found["receipts"]} == {ticket["id"] for ticket in tickets[:230]}
        assert {receipt["status"] for receipt in found["receipts"].values()} == {"ok"}
        assert here.accepted() == sorted(natives)
        if sdk is PYTHON:
            assert found["raised"] == {
                token: RAISED.get(name, "PushTicketError") for name, token in expected.items()
            }


@with_sdks
async def test_a_request_that_is_rejected_has_sent_nothing(
    sdk: Sdk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = command_of(sdk)
    apps_of = routes._apps_of
    monkeypatch.setattr(
        routes,
        "_apps_of",
        lambda gateway, caller: apps_of(gateway, None if caller.name == "broken" else caller),  # type: ignore[arg-type]
    )
    async with site(tmp_path) as here:
        ordinary = [{"to": here.sealed(f"{number:064x}"), "title": "Hi"} for number in range(101)]
        two_apps = [ordinary[0], {"to": here.sealed(f"{1:064x}", "news"), "title": "Hi"}]
        wrong = (
            {"ids": "no list"}
            if sdk is NODE
            else {"messages": two_apps, "headers": {"content-encoding": "gzip"}}
        )
        cases: list[tuple[str, int, dict[str, Any]]] = [
            ("PUSH_TOO_MANY_NOTIFICATIONS", 400, {"messages": ordinary, "whole": True}),
            ("PUSH_TOO_MANY_EXPERIENCE_IDS", 400, {"messages": two_apps, "access_token": OTHER_TOKEN}),
            ("PUSH_TOO_MANY_RECEIPTS", 400, {"ids": [str(number) for number in range(1001)]}),
            ("UNAUTHORIZED", 401, {"messages": two_apps, "access_token": "wrong"}),
            ("UNAUTHORIZED", 401, {"messages": two_apps, "access_token": None}),
            ("VALIDATION_ERROR", 400, wrong),
            ("INTERNAL_SERVER_ERROR", 500, {"messages": two_apps, "access_token": "broken"}),
        ]
        for (code, status, _), found in zip(
            cases, await here.run(command, *(job for *_, job in cases)), strict=True
        ):
            (error, *_) = found["errors"]
            assert error[:2] == [code, status]
            assert error[2]
            assert code != "PUSH_TOO_MANY_EXPERIENCE_IDS" or {*error[3]} == {"shop", "news"}
        assert here.accepted() == []

        slow = {"access_token": "slow"}
        before = len(here.encodings)
        first, second = await here.run(
            command, {"messages": ordinary[:100], **slow}, {"messages": ordinary[:1], **slow}
        )
        assert not first["errors"]
        assert second["errors"][0][:2] == ["TOO_MANY_REQUESTS", 429]
        # Two requests for the first job; node tries the second three times.
        assert len(here.encodings) - before == (5 if sdk is NODE else 3)
        assert here.accepted() == [f"{number:064x}" for number in range(100)]


@pytest.mark.needs("php")
async def test_ten_lines_of_php(tmp_path: Path) -> None:
    script = PROGRAMS / "push.php"
    assert len(script.read_text().splitlines()) <= 11, "the first opens PHP"
    async with site(tmp_path) as here:
        if "curl" not in (await here.output(["php", "-m"])).split():
            pytest.skip("php has no curl: Debian's package php-curl")
        php = ["php", str(script), here.url, TOKEN]
        said = await here.output([*php, here.sealed(f"{1:064x}")])
        assert said.startswith("ok ")
        assert here.gateway.sealing.receipts.made(said.split()[1])
        gone = await here.output([*php, here.sealed(fated_token("Unregistered"))])
        assert gone.startswith("DeviceNotRegistered: ")
