"""A client and an engine belong to one event loop: another one is refused before anything is queued, and one that has ended
is no obstacle to a new start."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from fakeservers import Certificates, FakeApns, FakeFcm
from fakeservers.in_thread import InThread
from pushcore import (
    ApnsClient,
    Broadcast,
    Channels,
    EventLoopError,
    FcmClient,
    Notification,
    PushEngine,
    Topics,
    Verdict,
)
from tests.e2e.fcm_support import fcm_of, message, registration
from tests.e2e.support import PAYLOAD, client_of, push


class LoopInThread:
    """An event loop that runs on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.submit(work).result(20)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)
        self.loop.close()


@pytest.fixture
def other_loop() -> Iterator[LoopInThread]:
    loop = LoopInThread()
    yield loop
    loop.end()


@pytest.fixture
def apns(certs: Certificates) -> Iterator[InThread[FakeApns]]:
    with InThread(lambda: FakeApns(certs=certs)) as server:
        yield server


@pytest.fixture
def fcm(certs: Certificates) -> Iterator[InThread[FakeFcm]]:
    with InThread(lambda: FakeFcm(certs=certs)) as server:
        yield server


async def take_all(results: Any) -> list[Any]:
    return [result async for result in results]


Use = Callable[[ApnsClient, FcmClient], Awaitable[Any]]

USES: dict[str, Use] = {
    "send": lambda apns, fcm: apns.send(push()),
    "send of fcm": lambda apns, fcm: fcm.send(message(1)),
    "broadcast": lambda apns, fcm: apns.broadcast(Broadcast("dHN0LXNyY2gtY2hubA==", PAYLOAD)),
    "channels": lambda apns, fcm: Channels(apns, url="https://127.0.0.1:9").list(),
    "subscribe": lambda apns, fcm: take_all(Topics(fcm).subscribe("news", [registration()])),
    "subscribe by the old API": lambda apns, fcm: take_all(
        Topics(fcm, instance_id=True).subscribe("news", [registration()])
    ),
    "list": lambda apns, fcm: Topics(fcm).list(registration()),
    "info": lambda apns, fcm: Topics(fcm).info(registration()),
    "engine": lambda apns, fcm: PushEngine(apns, fcm).open(),
    "close": lambda apns, fcm: apns.close(),
    "close of fcm": lambda apns, fcm: fcm.close(),
}


def test_everything_that_sends_is_refused_on_another_loop_and_nothing_is_queued(
    apns: InThread[FakeApns], fcm: InThread[FakeFcm], other_loop: LoopInThread
) -> None:
    notifications, messages = client_of(apns.fake), fcm_of(fcm.fake)
    other_loop.run(notifications.open())
    other_loop.run(messages.open())

    async def use_all() -> None:
        for name, use in USES.items():
            with pytest.raises(EventLoopError, match="another event loop"):
                await use(notifications, messages)
            for client in (notifications, messages):
                assert not client._dispatcher.pool.waiting, name
                assert client._dispatcher.pool.dialled == 0, name

    asyncio.run(use_all())
    assert other_loop.run(notifications.send(push())).verdict is Verdict.ACCEPTED
    other_loop.run(notifications.close())
    other_loop.run(messages.close())
    assert len(apns.fake.received) == 1


def test_an_engine_is_refused_on_another_loop_and_can_be_cancelled(
    apns: InThread[FakeApns], other_loop: LoopInThread
) -> None:
    client = client_of(apns.fake)
    engine = PushEngine(client)
    other_loop.run(engine.open())

    async def use() -> None:
        with pytest.raises(EventLoopError):
            await take_all(engine.send_many([push()]))
        with pytest.raises(EventLoopError):
            async with engine.stream([push()]) as results:
                await take_all(results)
        with pytest.raises(EventLoopError):
            await engine.close()

    asyncio.run(use())
    results = other_loop.run(take_all(engine.send_many([push()])))
    assert [result.verdict for result in results] == [Verdict.ACCEPTED]
    other_loop.run(engine.close())


@pytest.mark.parametrize("how", ["closed", "stopped"])
@pytest.mark.parametrize("provider", ["apns", "fcm"])
@pytest.mark.filterwarnings("error")
def test_a_client_whose_loop_has_ended_is_closed_and_opened_again(
    request: pytest.FixtureRequest, clean: None, provider: str, how: str
) -> None:
    server = request.getfixturevalue(provider)
    client: Any = client_of(server.fake) if provider == "apns" else fcm_of(server.fake)
    one: Any = push() if provider == "apns" else message(1)
    loop = asyncio.new_event_loop()

    async def first() -> None:
        await client.open()
        assert (await client.send(one)).ok

    loop.run_until_complete(first())
    (link,) = client._dispatcher.pool.links
    if how == "closed":
        loop.close()

    async def second() -> None:
        await client.close()
        assert link._transport is None
        async with client:
            assert (await client.send(one)).ok

    asyncio.run(second())
    loop.close()


@pytest.mark.filterwarnings("error")
def test_an_engine_whose_loop_has_ended_is_closed_and_opened_again(
    apns: InThread[FakeApns], clean: None
) -> None:
    engine = PushEngine(client_of(apns.fake))

    async def left_open() -> None:
        await engine.open()
        async for result in engine.send_many(push(number) for number in range(300)):
            assert result.ok
            break

    async def again() -> None:
        await engine.close()
        async with engine:
            results = await take_all(engine.send_many(push(number) for number in range(300)))
            assert all(result.ok for result in results)
            assert len(results) == 300

    asyncio.run(left_open())
    asyncio.run(again())
    asyncio.run(again())


def test_a_push_in_another_thread_goes_by_the_clients_loop(
    apns: InThread[FakeApns], other_loop: LoopInThread
) -> None:
    client = client_of(apns.fake)
    other_loop.run(client.open())
    assert other_loop.submit(client.send(Notification("ab" * 32, PAYLOAD))).result(20).ok
    other_loop.run(client.close())
