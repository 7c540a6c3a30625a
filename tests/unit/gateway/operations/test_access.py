"""A line for each request with nothing in it that a caller wrote, its id in the response, and its counters."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from pushcore.gateway.operations.access import AccessLog, trace_of
from pushcore.gateway.operations.numbers import GatewayNumbers
from tests.support.virtual_gateway import scope_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}", None),
        ("\n", None),
    ],
)
def test_the_trace_of_a_request(value: str, expected: str | None) -> None:
    assert trace_of(value.encode()) == expected


class Logged:
    """An application behind the log."""

    def __init__(
        self, caplog: pytest.LogCaptureFixture, *, enabled: bool = True, fails: bool = False
    ) -> None:
        caplog.set_level("INFO", "pushcore.gateway.access")
        self.numbers = GatewayNumbers(list)
        self.sent: list[Any] = []
        self._caplog = caplog
        self._fails = fails
        self._log = AccessLog(self._app, self.numbers, frozenset({"/v1/push"}), enabled=enabled)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "other"})
            return
        assert self.numbers.active == 1
        scope["caller"], scope["pushes"] = "web", 3
        if self._fails:
            raise LookupError
        await send({"type": "http.response.start", "status": 207})
        await send({"type": "http.response.body", "body": b"x"})

    async def __call__(self, path: str = "/v1/push", method: str = "POST", **changes: Any) -> None:
        async def send(message: Any) -> None:
            self.sent.append(message)

        headers = changes.pop("headers", {})
        await self._log({**scope_of(method, path, None, headers=headers), **changes}, None, send)  # type: ignore[arg-type]

    @property
    def line(self) -> dict[str, Any]:
        line: dict[str, Any] = orjson.loads(self._caplog.records[-1].message)
        return line

    @property
    def id(self) -> str:
        return str(dict(self.sent[0]["headers"])[b"x-request-id"].decode())


async def test_a_line_says_what_was_served(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    await logged(headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    line = logged.line
    assert re.fullmatch("[0-9a-f]{16}", logged.id)
    assert line.pop("time") > 1_700_000_000
    assert line.pop("ms") >= 0
    assert line == {
        **{"method": "POST", "route": "/v1/push", "status": 207, "caller": "web", "pushes": 3},
        **{"client": "192.0.2.7", "request_id": logged.id, "trace_id": TRACE},
    }
    assert logged.numbers.active == 0


async def test_nothing_that_a_client_wrote_stands_in_it(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    await logged("/secret?key=secret", "SECRET", client=None, headers={"x_request_id": "secret secret"})
    assert "secret" not in str(caplog.records[-1].message).lower()
    assert (logged.line["route"], logged.line["method"]) == ("other", "other")
    assert "client" not in logged.line


async def test_the_request_id_of_the_caller_is_kept_where_it_is_plain(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged = Logged(caplog)
    await logged(headers={"x_request_id": "A-z_0.9"})
    assert logged.id == logged.line["request_id"] == "A-z_0.9"


async def test_each_request_has_an_id_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    ids = set()
    for _ in range(3):
        logged = Logged(caplog)
        await logged()
        ids.add(logged.id)
    assert len(ids) == 3


async def test_a_path_of_a_mounted_application(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    await logged("/push/v1/push", root_path="/push")
    assert logged.line["route"] == "/v1/push"


async def test_without_a_log_requests_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog, enabled=False)
    await logged()
    assert not caplog.records
    assert b'requests_total{route="/v1/push",status="207"} 1.0' in logged.numbers.exposition("")[0]


async def test_a_failure_is_counted_as_500(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog, fails=True)
    with pytest.raises(LookupError):
        await logged()
    assert logged.line["status"] == 500
    assert logged.numbers.active == 0


async def test_a_scope_that_is_no_request_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    await logged(type="lifespan")
    assert logged.sent == [{"type": "other"}]
    assert not caplog.records


async def test_a_request_that_must_not_be_served_gets_a_problem_and_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logged = Logged(caplog)
    await logged(**{"pushcore.fault": "the request has no Host header; expected one"})
    assert orjson.loads(logged.sent[1]["body"]) == {
        "type": "urn:pushcore:problem:http",
        "title": "Bad Request",
        "status": 400,
        "detail": "the request has no Host header; expected one",
    }
    assert (logged.line["status"], "caller" in logged.line) == (400, False)


async def test_an_address_that_a_proxy_gives_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    logged = Logged(caplog)
    await logged(client=("x" * 60_000, 0))
    assert logged.line["client"] == "x" * 64
