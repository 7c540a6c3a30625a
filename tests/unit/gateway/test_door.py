"""Who may come in, how much of a body is read, and what becomes of errors."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from pushcore.gateway.callers import Caller, Callers, digest_of
from pushcore.gateway.config import CallerSection
from pushcore.gateway.door import BODY_SECONDS, MOST_RATIO, SKIPPED, Guarded, inflate, read_body
from pushcore.gateway.problems import GatewayProblem
from tests.support.gateway import TOKEN
from tests.support.virtual import run

LIMIT = 8 * 1024 * 1024


def test_valid_gzip_is_inflated() -> None:
    for content in (b"", b"{}", os.urandom(200_000), b'{"to": "abc"}' * 10_000):
        assert inflate(gzip.compress(content), LIMIT) == content


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"no gzip", 400),
        (gzip.compress(b"abc", mtime=0)[:-1], 400),
        (gzip.compress(b"abc", mtime=0) + b"x", 400),
        (gzip.compress(b"x" * (LIMIT + 1), mtime=0), 413),
        (gzip.compress(b"x" * 2_000_000, mtime=0), 413),  # 1000 to 1
    ],
)
def test_damaged_gzip_is_a_problem(data: bytes, status: int) -> None:
    with pytest.raises(GatewayProblem) as raised:
        inflate(data, LIMIT)
    assert raised.value.status == status


def test_a_small_body_may_have_any_ratio() -> None:
    content = b"x" * 900_000
    assert len(gzip.compress(content)) * MOST_RATIO < len(content)
    assert inflate(gzip.compress(content), LIMIT) == content


# --- bodies -----------------------------------------------------------------------------------------------------------


def request_of(*parts: Any, length: str | None = None, encoding: str | None = None) -> Request:
    """A request whose body comes in these parts; a number is a wait, and what is no bytes a message of its own."""
    fields = {"content-length": length, "content-encoding": encoding}
    headers = [(name.encode(), value.encode()) for name, value in fields.items() if value is not None]
    left = deque(parts)

    async def receive() -> Any:
        while isinstance(left[0], float):
            await asyncio.sleep(left.popleft())
        part = left.popleft()
        return (
            {"type": "http.request", "body": part, "more_body": bool(left)} if type(part) is bytes else part
        )

    return Request({"type": "http", "headers": headers}, receive)


async def test_a_body_in_parts() -> None:
    assert await read_body(request_of(b"abc"), 3) == b"abc"
    assert await read_body(request_of(b"ab", b"", b"c"), 3) == b"abc"
    assert await read_body(request_of(b"abc", length="3", encoding=" Identity "), 3) == b"abc"
    packed = gzip.compress(b"abc")
    assert await read_body(request_of(packed[:9], packed[9:], encoding="gzip"), 100) == b"abc"
    assert await read_body(request_of(packed, encoding="X-GZIP"), 100) == b"abc"
    assert await read_body(request_of({"type": "http.request"}), 100) == b""


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (request_of(b"abcd"), 413),
        (request_of(b"ab", b"cd"), 413),
        (request_of(b"", length="4"), 413),
        (request_of(b"", length="9" * 5000), 413),
        (request_of(b"abc", encoding="br"), 415),
        (request_of(b"abc", encoding="gzip"), 400),
    ],
)
async def test_a_body_that_is_too_large_or_in_another_encoding(request_: Request, status: int) -> None:
    with pytest.raises(GatewayProblem) as raised:
        await read_body(request_, 3)
    assert raised.value.status == status


def test_a_body_that_does_not_come_in_time() -> None:
    with pytest.raises(GatewayProblem, match="within 30 s") as raised:
        run(read_body(request_of(b"a", BODY_SECONDS + 1, b"b"), 100))
    assert raised.value.status == 408


async def test_a_client_that_goes_away_is_no_problem_of_the_request() -> None:
    with pytest.raises(ClientDisconnect):
        await read_body(request_of(b"a", {"type": "http.disconnect"}), 100)


# --- the door ---------------------------------------------------------------------------------------------------------


class Served:
    """An endpoint behind the door, with a caller "web" of `TOKEN` who may have one request at a time."""

    def __init__(self, handler: Any, **options: Any) -> None:
        sections = (CallerSection(name="web", tokens=(digest_of(TOKEN),), concurrent=1),)
        self.callers = Callers(sections)
        self._endpoint = Guarded(handler, **options)

    async def __call__(self, token: str | None = TOKEN) -> Response:
        headers = [(b"authorization", b"Bearer " + token.encode())] if token is not None else []
        state = SimpleNamespace(gateway=SimpleNamespace(callers=self.callers))
        self.scope = {"type": "http", "headers": headers, "app": SimpleNamespace(state=state)}
        return await self._endpoint.respond(Request(self.scope))


async def fine(gateway: Any, caller: Caller, request: Request) -> Response:
    assert caller.active == 1
    return Response(caller.name.encode())


async def test_only_callers_come_in_and_each_request_ends() -> None:
    served = Served(fine)
    assert (await served()).body == b"web"
    assert served.scope["caller"] == "web"
    assert (await served("wrong")).status_code == 401
    assert (await served(None)).status_code == 401
    assert served.callers.all[0].active == 0


async def test_an_endpoint_may_need_no_token() -> None:
    served = Served(fine, anonymous=True)
    assert (await served(None)).body == b"-"
    assert served.callers.anonymous_caller.active == 0


async def test_a_caller_with_too_many_requests() -> None:
    served = Served(fine)
    served.callers.all[0].enter()
    response = await served()
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert served.callers.all[0].active == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(GatewayProblem(422, "x", "y"), 422), (ClientDisconnect(), 400), (LookupError("secret\n"), 500)],
)
async def test_errors_are_responses_and_the_request_ends(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(gateway: Any, caller: Caller, request: Request) -> Response:
        raise error

    served = Served(fail)
    response = await served()
    assert response.status_code == status
    assert b"secret" not in bytes(response.body)
    assert ("please report it" in caplog.text) == (status == 500)
    assert served.callers.all[0].active == 0


async def test_problems_in_a_dialect_of_its_own() -> None:
    async def fail(gateway: Any, caller: Caller, request: Request) -> Response:
        raise LookupError

    served = Served(fail, on_problem=lambda problem: Response(b"%d" % problem.status))
    assert (await served()).body == b"500"
    assert (await served(None)).body == b"401"


def test_a_body_that_the_server_skipped_is_a_problem() -> None:
    request = request_of()
    request.scope[SKIPPED] = True
    with pytest.raises(GatewayProblem, match="without Upgrade"):
        run(read_body(request, 10))
