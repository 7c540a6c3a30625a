"""What is kept of requests, for how long, and what a repeat hears when an instance has died."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.requests import Request
from starlette.responses import Response

from pushcore.gateway import idempotency
from pushcore.gateway.callers import Caller
from pushcore.gateway.idempotency import KEPT, LOST, Idempotency, MemoryRecords, RedisRecords
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
async def test_a_malformed_key_is_rejected(key: str) -> None:
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


async def test_a_problem_of_the_store_is_replayed_as_a_problem() -> None:
    service = Idempotency(MemoryRecords())
    problem = GatewayProblem(422, "x", "y").response()

    async def work() -> Response:
        return problem

    await service.respond(WEB, request(), b"body", work, lost)
    again = await service.respond(WEB, request(), b"body", work, lost)
    assert (again.status_code, again.body) == (422, problem.body)
    assert again.headers["content-type"] == "application/problem+json"


async def test_in_memory_a_response_larger_than_all_is_kept_until_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "MOST_BYTES", 10)
    store = MemoryRecords(Clock())
    for key in (b"a", b"b"):
        assert await store.begin(key, b"S" + b"x" * 20) is None
        await store.complete(key, b"R" + b"x" * 20)
    assert list(store._records) == [b"b"]
    await store.begin(b"c", b"S" + b"x" * 20)
    assert list(store._records) == [b"c"], "what is in progress is never forgotten"
    await store.forget(b"missing")
    await store.close()


# --- Redis ------------------------------------------------------------------------------------------------------------


class ScriptedRedis:
    """The commands of redis-py that are used, on a dict; `error`: what every command raises."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.error: Exception | None = None
        self.expiries: set[int] = set()
        self.vanishes = False
        """Whether records are gone when they are looked at."""
        self.closed = False

    async def set(self, name: str, value: bytes, *, ex: int, nx: bool = False) -> bool | None:
        self._fail()
        self.expiries.add(ex)
        if nx and name in self.kept:
            return None
        self.kept[name] = value
        return True

    async def get(self, name: str) -> bytes | None:
        self._fail()
        return None if self.vanishes else self.kept.get(name)

    async def delete(self, name: str) -> None:
        self._fail()
        self.kept.pop(name, None)

    async def aclose(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


async def test_instances_share_responses_in_redis() -> None:
    redis, work = ScriptedRedis(), Work()
    one, two = Idempotency(RedisRecords(redis)), Idempotency(RedisRecords(redis))
    first = await one.respond(WEB, request(), b"body", work, lost)
    again = await two.respond(WEB, request(), b"body", work, lost)
    assert (first.body, again.body, work.count) == (b"1", b"1", 1)
    assert redis.expiries == {round(KEPT)}
    assert all(name.startswith("pushcore:gateway:request:") and "body" not in name for name in redis.kept)
    work.error = GatewayProblem(429, "x", "y")
    with pytest.raises(GatewayProblem):
        await one.respond(WEB, request("other"), b"body", work, lost)
    assert len(redis.kept) == 1, "the key is free again"
    await one.close()
    assert redis.closed


@pytest.mark.parametrize("error", [RedisConnectionError("secret"), OSError("secret"), TimeoutError("secret")])
async def test_without_redis_nothing_is_sent(error: Exception) -> None:
    redis, work = ScriptedRedis(), Work()
    redis.error = error
    with pytest.raises(GatewayProblem) as raised:
        await Idempotency(RedisRecords(redis)).respond(WEB, request(), b"body", work, lost)
    assert (raised.value.status, raised.value.name) == (503, "store")
    assert "secret" not in raised.value.detail
    assert work.count == 0


async def test_a_redis_that_fails_after_the_push_does_not_hide_its_result() -> None:
    redis = ScriptedRedis()

    async def work() -> Response:
        redis.error = OSError()
        return Response(b"sent")

    response = await Idempotency(RedisRecords(redis)).respond(WEB, request(), b"body", work, lost)
    assert response.body == b"sent"


async def test_a_record_that_always_vanishes_is_given_up() -> None:
    redis: Any = ScriptedRedis()
    await redis.set("pushcore:gateway:request:6b", b"S", ex=1)
    redis.vanishes = True
    with pytest.raises(GatewayProblem) as raised:
        await RedisRecords(redis).begin(b"k", b"S")
    assert raised.value.status == 503
