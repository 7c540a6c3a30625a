"""What all clients have in common: opened once, closed with every pool, and each push answered once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import ApnsClient, ApnsKey, LegacyFcmClient, Notification, PushEngine
from pushcore.errors import ClosedError, ConfigurationError, ConnectError, EventLoopError
from pushcore.http2.exchange import Exchange, deliver
from pushcore.http2.origin import Origin
from pushcore.http2.pool import Pool
from pushcore.http2.protocol import Link
from pushcore.http2.tls import client_context
from pushcore.metrics import Metrics
from pushcore.provider_client import Dispatcher, ProviderClient
from pushcore.results import Result, Verdict
from tests.support import virtual
from tests.support.scripted import EventLog, ScriptedPush, ScriptedRequests

CONTEXT = client_context()
APNS_KEY = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")


class PlainDispatcher(Dispatcher[ScriptedPush]):
    """Sends for a client of no provider. `accepts`: False if a status alone does not say that a push was accepted."""

    handles = ScriptedPush
    streams = 10
    quota = False
    provider = "test"
    requests = ScriptedRequests()

    def __init__(self, *, accepts: bool = True, **options: Any) -> None:
        self._accepts = accepts
        given: dict[str, Any] = {
            "max_connections": 1,
            "timeout": 5.0,
            "http2": "fast",
            "proxy": None,
            "idle_ping": None,
            "keepalive": None,
            "now": lambda: 0.0,
        }
        super().__init__(Origin("push.example"), CONTEXT, **{**given, **options})

    def accept(self, finished: list[Exchange], results: list[Result]) -> list[Exchange]:
        if not self._accepts:
            return super().accept(finished, results)
        results += [
            Result(
                exchange.context,
                Verdict.ACCEPTED,
                200,
                exchange.attempts,
                find=lambda push, answer, name: f"{name} of {push.row}",
            )
            for exchange in finished
            if exchange.status == 200
        ]
        return [exchange for exchange in finished if exchange.status != 200]

    def result(self, exchange: Exchange, push: Any) -> Result | None:
        if exchange.error is not None:
            return Result(push, Verdict.UNSENT, detail=exchange.error)
        return None if exchange.status == 401 else Result(push, Verdict.INVALID, exchange.status)

    def _authorize(self, link: Link) -> None:
        link.connection.authorize(b"secret")


class PlainClient(ProviderClient[ScriptedPush]):
    """The client that a user sees, in front of `PlainDispatcher`."""

    _dispatcher: PlainDispatcher

    def __init__(self, **options: Any) -> None:
        super().__init__(PlainDispatcher(**options))


def answers(status: int) -> Any:
    return lambda fields, body: (status, {}, b"")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"http2": "slow"}, "fast, reference"),
        ({"max_connections": 0}, "max_connections must be a whole number of at least 1, not 0"),
        ({"timeout": 0.0}, "timeout must be a number above 0, not 0.0"),
        ({"proxy": "ftp://proxy.example"}, "proxies"),
    ],
)
def test_wrong_options_are_rejected_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        PlainClient(**options)


async def test_it_is_open_between_open_and_close_and_can_be_opened_again() -> None:
    client = PlainClient()
    for _ in range(2):
        assert not client.opened
        async with client:
            assert client.opened
            assert client._dispatcher.loop is asyncio.get_running_loop()
            with pytest.raises(ClosedError, match="open already"):
                await client.open()
    await client.close()
    for use in (
        lambda: client._dispatcher.pool,
        lambda: client._dispatcher.loop,
        lambda: client._dispatcher.pool_to(Origin("other")),
    ):
        with pytest.raises(ClosedError, match="async with"):
            use()
    with pytest.raises(ClosedError, match="async with"):
        await client.send(ScriptedPush(1))


async def test_each_server_has_one_pool_of_the_clients_and_all_are_closed_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[Pool] = []
    close = Pool.close

    async def closing(self: Pool) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(Pool, "close", closing)
    client = PlainClient()
    async with client:
        other = client._dispatcher.pool_to(Origin("manage.example", 2196), 1_000_000)
        assert client._dispatcher.pool_to(Origin("manage.example", 2196)) is other
        assert client._dispatcher.pool_to(client._dispatcher.origin) is client._dispatcher.pool
        assert other.limits.max_body == 1_000_000
        assert (other.limits.timeout, other.name) == (5.0, "test")
        pools = {client._dispatcher.pool, other}
    assert set(closed) == pools
    assert len(closed) == 2


async def test_closing_that_was_cancelled_goes_on_when_it_is_called_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_close, closed, close = asyncio.Event(), [], Pool.close

    async def closing(self: Pool) -> None:
        await may_close.wait()
        await close(self)
        closed.append(self)

    monkeypatch.setattr(Pool, "close", closing)
    client = PlainClient()
    await client.open()
    pools = {client._dispatcher.pool, client._dispatcher.pool_to(Origin("other.example"))}
    task = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not client.opened
    with pytest.raises(ClosedError, match="open already"):
        await client.open()
    may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(closed) == 1  # the other one was being closed when it was cancelled
    await client.close()
    assert set(closed) == pools
    async with client:
        assert client.opened


async def test_another_event_loop_is_refused_before_anything_is_queued() -> None:
    loop = asyncio.new_event_loop()
    async with PlainClient() as client:
        dispatcher = client._dispatcher
        own, dispatcher._loop = dispatcher._loop, loop
        for use in (lambda: client.send(ScriptedPush(1)), client.open, client.close):
            monkey = pytest.MonkeyPatch()
            monkey.setattr(loop, "is_running", lambda: True)
            with pytest.raises(EventLoopError, match="test client was opened on another event loop"):
                await use()
            monkey.undo()
        with pytest.raises(EventLoopError):
            dispatcher.pool_to(Origin("other.example"))
        with pytest.raises(EventLoopError):
            dispatcher.check_loop()
        assert not dispatcher.pool.waiting
        dispatcher._loop = own
        dispatcher.check_loop()
    PlainClient()._dispatcher.check_loop()  # it is nobody's yet
    loop.close()


def test_a_client_whose_event_loop_has_ended_is_closed_and_opened_again() -> None:
    client = PlainClient()
    asyncio.run(client.open())

    async def use() -> None:
        for refused in (lambda: client.send(ScriptedPush(1)), client.open):
            with pytest.raises(EventLoopError, match="has ended: close the client, then open it again"):
                await refused()
        await client.close()
        async with client:
            assert client.opened

    asyncio.run(use())


def test_an_accepted_push_knows_its_id_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual.connect_to(monkeypatch, answers(200))

    async def send() -> Result:
        async with PlainClient() as client:
            return await client.send(ScriptedPush(7))

    result = virtual.run(send())
    assert (result.verdict, result.status, result.attempts) == (Verdict.ACCEPTED, 200, 1)
    assert (result.id, result.unique_id) == ("id of 7", "unique_id of 7")


def test_any_other_answer_is_judged_by_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual.connect_to(monkeypatch, answers(400))

    async def send(**options: Any) -> Result:
        async with PlainClient(**options) as client:
            return await client.send(ScriptedPush(7))

    assert virtual.run(send()).verdict is Verdict.INVALID
    virtual.connect_to(monkeypatch, answers(200))
    assert virtual.run(send(accepts=False)).verdict is Verdict.INVALID  # its status alone says nothing


async def test_a_push_that_cannot_be_sent_needs_no_connection() -> None:
    async with PlainClient() as client:
        result = await client.send(ScriptedPush(1, invalid=Verdict.INVALID))
        assert (result.verdict, client._dispatcher.pool.dialled) == (Verdict.INVALID, 0)


async def test_closing_ends_what_waits_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PlainClient() as client:
        monkeypatch.setattr(client._dispatcher.pool, "pump", lambda: None)
        sending = asyncio.create_task(client.send(ScriptedPush(1)))
        await asyncio.sleep(0)
    result = await sending
    assert result.verdict is Verdict.UNSENT
    assert "closed before" in str(result.detail)


async def test_a_cancelled_send_takes_its_push_back_and_ignores_a_late_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with PlainClient() as client:
        taken: list[Exchange] = []
        monkeypatch.setattr(client._dispatcher.pool, "submit", taken.append)
        cancelled: list[Exchange] = []
        monkeypatch.setattr(client._dispatcher.pool, "cancel", cancelled.append)
        sending = [asyncio.create_task(client.send(ScriptedPush(row))) for row in (1, 2, 3)]
        await asyncio.sleep(0)
        for task in sending[:2]:
            task.cancel()
        await asyncio.gather(*sending[:2], return_exceptions=True)
        assert cancelled == taken[:2]
        for exchange, status in zip(taken, (200, 400, 200), strict=True):
            exchange.status, exchange.header_block = status, b"\x88"
        deliver(taken)
        assert (await sending[2]).push.row == 3


async def test_an_exchange_that_was_sent_once_more_has_no_result_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PlainClient() as client:
        taken: list[Exchange] = []
        monkeypatch.setattr(client._dispatcher.pool, "submit", taken.append)
        sending = asyncio.create_task(client.send(ScriptedPush(1)))
        await asyncio.sleep(0)
        taken[0].status = 401
        deliver(taken)
        await asyncio.sleep(0)
        assert not sending.done()
        taken[0].status = 400
        deliver(taken)
        assert (await sending).verdict is Verdict.INVALID


def test_answers_together_go_each_to_its_own_push(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual.connect_to(
        monkeypatch, lambda fields, body: (200 if int(body) % 3 else 404, {}, b""), latency=1.0
    )

    class Numbered(ScriptedRequests):
        def build(self, *args: Any) -> Any:
            end = super().build(*args)
            for exchange in args[4]:
                exchange.body = b"%d" % exchange.context.row
            return end

    async def send() -> list[Result]:
        client = PlainClient()
        client._dispatcher.requests = Numbered()
        async with client:
            return await asyncio.gather(*(client.send(ScriptedPush(row)) for row in range(1, 31)))

    results = virtual.run(send())
    assert [result.push.row for result in results] == list(range(1, 31))
    assert [result.ok for result in results] == [row % 3 != 0 for row in range(1, 31)]


def test_a_client_takes_every_push_of_its_class_unless_it_says_otherwise() -> None:
    client = PlainClient()
    assert client._dispatcher.takes_all
    assert client._dispatcher.takes(ScriptedPush(1))


async def test_a_push_of_another_class_is_a_mistake_of_the_caller() -> None:
    async with PlainClient() as client:
        for wrong in ("ab", None, Notification("ab", {}), ScriptedPush):
            with pytest.raises(TypeError, match="this client sends ScriptedPush, not "):
                await client.send(wrong)  # type: ignore[arg-type]


CLIENTS: list[tuple[ProviderClient[Any], set[str]]] = [
    (PlainClient(), set()),
    (ApnsClient(APNS_KEY), {"broadcast", "environment", "use"}),
    (LegacyFcmClient("key", url="https://push.example"), {"send_multicast"}),
]


@pytest.mark.parametrize(("client", "own"), CLIENTS)
def test_a_client_shows_what_its_user_needs(client: ProviderClient[Any], own: set[str]) -> None:
    shown = {name for name in dir(client) if not name.startswith("_")}
    common = {
        "close",
        "expiries",
        "idle_ping",
        "keepalive",
        "max_connections",
        "open",
        "opened",
        "send",
        "timeout",
        "watch",
    }
    assert shown == common | own
    assert client.max_connections in (1, 8, 10)
    assert client.timeout in (5.0, 10.0)
    assert client.idle_ping in (None, 3600.0)
    assert client.keepalive in (None, (60, 15, 4))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"idle_ping": 0}, "idle_ping must be a number above 0, not 0"),
        ({"idle_ping": "3600"}, "idle_ping must be a number above 0, not '3600'"),
        ({"idle_ping": float("nan")}, "idle_ping must be a number above 0, not nan"),
        ({"keepalive": True}, "keepalive must be None or three whole numbers such as (60, 15, 4)"),
        ({"keepalive": "60:15:4"}, "keepalive must be None or three whole numbers such as (60, 15, 4)"),
        ({"keepalive": (60, 15)}, "keepalive must be None or three whole numbers"),
        ({"keepalive": (0, 15, 4)}, "keepalive[0] must be a whole number from 1 to 32767, not 0"),
        ({"keepalive": (60, 15.0, 4)}, "keepalive[1] must be a whole number from 1 to 32767, not 15.0"),
        ({"keepalive": (60, 15, 128)}, "keepalive[2] must be a whole number from 1 to 127, not 128"),
    ],
)
def test_wrong_settings_of_idle_connections_are_named(options: dict[str, Any], words: str) -> None:
    for make in (
        lambda: PlainClient(**options),
        lambda: ApnsClient(APNS_KEY, **options),
        lambda: LegacyFcmClient("key", url="https://push.example", **options),
    ):
        with pytest.raises(ConfigurationError) as caught:
            make()
        assert words in str(caught.value)


async def test_settings_of_idle_connections_reach_the_pool() -> None:
    async with ApnsClient(APNS_KEY, idle_ping=None, keepalive=(30, 5, 2)) as client:
        limits = client._dispatcher.pool.limits
        assert (limits.idle_ping, limits.keepalive) == (None, (30, 5, 2))
        assert client._dispatcher.pool.dialer._keepalive == (30, 5, 2)
    assert (client.idle_ping, client.keepalive) == (None, (30, 5, 2))


async def test_a_listener_watches_a_client_until_it_is_told_to_stop() -> None:
    log, metrics = EventLog(), Metrics()
    with pytest.raises(ClosedError):
        PlainClient().watch(log)
    async with PlainClient() as client:
        ends = [client.watch(log), client.watch(metrics)]
        events = client._dispatcher.pool.events
        events.rate_limited("test", 1.0)
        assert [pool for _, pool in metrics._watched] == [client._dispatcher.pool]
        for end in ends * 2:  # twice does no harm
            end()
        events.rate_limited("test", 2.0)
        assert log.events == [("rate_limited", "test", 1.0)]
        assert not metrics._watched


def test_a_listener_hears_of_each_result_of_send_and_metrics_of_how_long_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statuses = iter([200, 400, 401, 200])
    virtual.connect_to(monkeypatch, lambda fields, body: (next(statuses), {}, b""), latency=0.5)
    log, metrics = EventLog(), Metrics()

    async def send() -> None:
        async with PlainClient() as client:
            ends = [client.watch(log), client.watch(metrics)]
            await client.send(ScriptedPush(1))
            await client.send(ScriptedPush(2))
            await client.send(ScriptedPush(3, invalid=Verdict.INVALID))
            with pytest.raises(TimeoutError):  # sent once more by the client: there is no result
                async with asyncio.timeout(2.0):
                    await client.send(ScriptedPush(4))
            for end in ends:
                end()
            await client.send(ScriptedPush(5))

    virtual.run(send())
    assert [event for event in log.events if event[0] == "results"] == [
        ("results", "test", [1]),
        ("results", "test", [2]),
        ("results", "test", [3]),
    ]
    assert metrics.sent == {
        ("test", "ACCEPTED", ""): 1,
        ("test", "INVALID", ""): 1,
        ("test", "INVALID", "other"): 1,
    }
    durations = metrics.durations["test"]
    assert durations.count == 2
    assert durations.total == pytest.approx(1.0, abs=0.1)


def test_an_engines_listener_hears_of_what_is_sent_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual.connect_to(monkeypatch, answers(200), latency=0.5)
    metrics = Metrics()

    async def send() -> None:
        client = PlainClient()
        async with PushEngine(client, listener=metrics) as engine:
            assert [result.ok async for result in engine.send_many([ScriptedPush(1), ScriptedPush(2)])] == [
                True,
                True,
            ]
            assert (await client.send(ScriptedPush(3))).ok

    virtual.run(send())
    assert metrics.sent == {("test", "ACCEPTED", ""): 3}
    assert metrics.durations["test"].count == 3


# --- connections that are opened ahead, and left behind ---------------------------------------------------------------


def test_connections_may_be_opened_before_there_is_anything_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    virtual.connect_to(monkeypatch, answers(200))

    async def open_ahead() -> int:
        client = PlainClient(max_connections=3)
        await client.open(connections=2)
        count = len(client._dispatcher.pool.links)
        await client.close()
        return count

    assert virtual.run(open_ahead()) == 2


async def test_a_client_whose_first_connections_fail_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Pool, count: int) -> None:
        raise ConnectError("nobody listens")

    monkeypatch.setattr(Pool, "open_ahead", fail)
    client = PlainClient()
    with pytest.raises(ConnectError, match="nobody listens"):
        await client.open(connections=1)
    assert not client.opened
    with pytest.raises(ConfigurationError, match="connections must be a whole number"):
        await client.open(connections=2)  # of one at most


def test_a_client_whose_loop_has_ended_is_closed_on_another_and_opened_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    virtual.connect_to(monkeypatch, answers(200))
    client = PlainClient()

    async def send() -> bool:
        await client.close()
        await client.open()
        return (await client.send(ScriptedPush(1))).ok

    assert [virtual.run(send()) for _ in range(2)] == [True, True]
    virtual.run(client.close())
    assert not client.opened
