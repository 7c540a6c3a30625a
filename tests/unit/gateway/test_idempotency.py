"""What is kept of requests, for how long, and what a repeat hears when an instance has died."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from pushcore.gateway import idempotency
from pushcore.gateway.callers import Caller
from pushcore.gateway.idempotency import KEPT, LOST, Idempotency, MemoryRecords
from pushcore.gateway.problems import GatewayProblem

WEB = Caller("web")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def request(key: str | None = "k", path: str = "/v1/push") -> Request:
    headers = [] if key is None else [(b"idempotency-key", key.encode("latin-1"))]
    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": headers,
            "query_string": b"",
            "server": ("h", 80),
        }
    )


class Work:
    """What a request does, counted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.count = 0
        self.error = error

    async def __call__(self) -> Response:
        self.count += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return Response(b"%d" % self.count, 201, media_type="application/json")


def lost() -> Response:
    return Response(b"lost", media_type="application/json")


async def test_a_repeat_has_the_same_response_until_it_is_forgotten() -> None:
    clock, work = Clock(), Work()
    service = Idempotency(MemoryRecords(clock), clock)
    first = await service.respond(WEB, request(), b"body", work, lost)
    clock.now += KEPT - 1
    again = await service.respond(WEB, request(), b"body", work, lost)
    assert (first.body, first.status_code) == (again.body, again.status_code) == (b"1", 201)
    assert again.headers["content-type"] == "application/json"
    clock.now += 1
    assert (await service.respond(WEB, request(), b"body", work, lost)).body == b"2"


async def test_repeats_at_the_same_time_wait() -> None:
    work = Work()
    service = Idempotency(MemoryRecords())
    responses = await asyncio.gather(
        *(service.respond(WEB, request(), b"body", work, lost) for _ in range(5))
    )
    assert {response.body for response in responses} == {b"1"}


async def test_without_a_key_everything_is_done() -> None:
    work = Work()
    service = Idempotency(MemoryRecords())
    for _ in range(2):
        await service.respond(WEB, request(None), b"body", work, lost)
    assert work.count == 2


async def test_a_key_is_of_one_caller_and_one_route() -> None:
    work = Work()
    service = Idempotency(MemoryRecords())
    await service.respond(WEB, request(), b"body", work, lost)
    await service.respond(Caller("other"), request(), b"body", work, lost)
    await service.respond(WEB, request(path="/v1/push/batch"), b"body", work, lost)
    assert work.count == 3


async def test_another_body_is_a_problem() -> None:
    service = Idempotency(MemoryRecords())
    await service.respond(WEB, request(), b"body", Work(), lost)
    with pytest.raises(GatewayProblem) as raised:
        await service.respond(WEB, request(), b"other", Work(), lost)
    assert raised.value.status == 422


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
async def test_what_is_no_key(key: str) -> None:
    with pytest.raises(GatewayProblem) as raised:
        await Idempotency(MemoryRecords()).respond(WEB, request(key), b"", Work(), lost)
    assert raised.value.status == 400


async def test_a_problem_says_that_nothing_was_sent_so_the_key_is_free() -> None:
    work = Work(GatewayProblem(429, "rate", "too many"))
    service = Idempotency(MemoryRecords())
    with pytest.raises(GatewayProblem):
        await service.respond(WEB, request(), b"body", work, lost)
    work.error = None
    assert (await service.respond(WEB, request(), b"body", work, lost)).body == b"2"


async def test_after_a_crash_nothing_is_sent_and_the_answer_is_that_of_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, store, work = Clock(), MemoryRecords(Clock()), Work(RuntimeError("crash"))
    dead, alive = Idempotency(store, clock), Idempotency(store, clock)
    with pytest.raises(RuntimeError):
        await dead.respond(WEB, request(), b"body", work, lost)
    monkeypatch.setattr(idempotency, "POLL", 0.001)
    repeat = asyncio.ensure_future(alive.respond(WEB, request(), b"body", work, lost))
    await asyncio.sleep(0.01)
    assert not repeat.done()  # the other instance may be at work still
    clock.now += LOST
    assert (await repeat).body == b"lost"
    assert (await alive.respond(WEB, request(), b"body", work, lost)).body == b"lost"
    assert work.count == 1


async def test_memory_is_bounded_in_records_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MOST_RECORDS", 3)
    store = MemoryRecords(Clock())
    service = Idempotency(store)
    for number in range(10):
        await service.respond(WEB, request(f"k{number}"), b"body", Work(), lost)
    assert len(store._records) == 3
    monkeypatch.setattr(idempotency, "MOST_BYTES", 200)
    await service.respond(WEB, request("last"), b"body", Work(), lost)
    assert store._bytes <= 200
    assert store._bytes == sum(len(record) for _, record in store._records.values())
    work = Work()
    assert (await service.respond(WEB, request("last"), b"body", work, lost)).body == b"1"
    assert not work.count
