"""Pushes through one endless run of an engine: turns, deadlines, breakers, and what becomes of pushes when something fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pushcore.engine.breaker import RUN
from pushcore.errors import ClosedError, ConnectError
from pushcore.gateway import senders
from pushcore.gateway.batches import send_all
from pushcore.gateway.senders import IDLE, QUEUED, REQUEST, AppSender, Submissions
from pushcore.models.apns import Broadcast
from pushcore.results import Result, Verdict
from tests.support.scripted import ScriptedClient, ScriptedPush
from tests.support.virtual import run

Work = Callable[["Sent"], Coroutine[Any, Any, Any]]


class Sent:
    """A sender on a client whose answers the test gives."""

    def __init__(self, **options: Any) -> None:
        self.client = ScriptedClient(**options)
        self.sender = AppSender("shop", "apns", "production", self.client)
        self.hooked: list[tuple[str, str, str, Verdict]] = []
        self.sender.webhooks = (self,)  # type: ignore[assignment]

    def add(self, provider: str, environment: str, caller: str, result: Result) -> None:
        """As a webhook."""
        self.hooked.append((provider, environment, caller, result.verdict))

    async def send(self, *rows: int, caller: str = "web", deadline: float = REQUEST) -> list[Result]:
        return await send_all(caller, [(self.sender, ScriptedPush(row)) for row in rows], deadline)

    async def settle(self) -> None:
        """Let the engine take what it can."""
        await asyncio.sleep(0.001)


def sending(work: Work, **options: Any) -> Sent:
    """Run `work` with an open sender, which is closed afterwards."""
    sent = Sent(**options)

    async def whole() -> None:
        await sent.sender.open()
        try:
            await work(sent)
        finally:
            await sent.sender.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    run(whole())
    return sent


def verdicts(results: list[Result]) -> list[str]:
    return [result.verdict.value for result in results]


def test_results_are_in_the_order_of_the_pushes() -> None:
    async def work(sent: Sent) -> None:
        sending = asyncio.create_task(sent.send(1, 2, 3))
        await sent.settle()
        assert sent.client.sent == [1, 2, 3]
        assert sent.sender.busy
        sent.client.answer(3)
        sent.client.answer(2, verdict=Verdict.UNREGISTERED, reason="Unregistered")
        sent.client.answer(1)
        results = await sending
        assert [result.push.row for result in results] == [1, 2, 3]
        assert verdicts(results) == ["ACCEPTED", "UNREGISTERED", "ACCEPTED"]
        assert not sent.sender.busy

    sent = sending(work)
    assert {hooked[:3] for hooked in sent.hooked} == {("apns", "production", "web")}
    assert Counter(verdict for *_, verdict in sent.hooked) == {Verdict.ACCEPTED: 2, Verdict.UNREGISTERED: 1}
    assert sent.sender.name == "shop/apns/production"
    assert AppSender("shop", "fcm", "", ScriptedClient()).name == "shop/fcm"


def test_a_push_without_a_turn_is_unsent_and_one_without_a_response_unknown() -> None:
    """The window has two pushes, of which one caller may have one."""

    async def work(sent: Sent) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sending = asyncio.create_task(sent.send(1, 2, 3))
        await asyncio.sleep(QUEUED - 0.1)
        assert sent.sender.queued == 2
        await asyncio.sleep(0.2)
        assert sent.sender.queued == 0
        results = await sending
        assert loop.time() - began == pytest.approx(REQUEST)
        assert verdicts(results) == ["UNKNOWN", "UNSENT", "UNSENT"]
        assert "may have been delivered" in str(results[0].detail)
        assert "queued for more than 4 s" in str(results[1].detail)
        sent.client.answer()  # too late: nobody waits
        await sent.settle()
        assert sent.client.sent == [1]

    sending(work, streams=2)


def test_a_shorter_deadline_waits_half_of_it_for_a_turn() -> None:
    async def work(sent: Sent) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert verdicts(await sent.send(1, 2, deadline=2.0)) == ["UNKNOWN", "UNSENT"]
        assert loop.time() - began == pytest.approx(2.0)
        sent.client.answer()

    sending(work, streams=2)


def test_another_caller_has_its_turn_while_one_waits() -> None:
    async def work(sent: Sent) -> None:
        busy = asyncio.create_task(sent.send(*range(1, 10), caller="busy"))
        await sent.settle()
        single = asyncio.create_task(sent.send(100, caller="single"))
        await sent.settle()
        assert sent.client.sent == [1, 100]
        while not (busy.done() and single.done()):
            sent.client.answer()
            await sent.settle()
        assert verdicts(await busy) == ["ACCEPTED"] * 9
        assert verdicts(await single) == ["ACCEPTED"]

    sending(work, streams=2)


def test_what_has_not_begun_is_not_sent_when_the_client_goes_away() -> None:
    async def work(sent: Sent) -> None:
        sending = asyncio.create_task(sent.send(1, 2, 3))
        await sent.settle()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert sent.sender.queued == 0
        sent.client.answer()
        await sent.settle()
        assert sent.client.sent == [1]

    sent = sending(work, streams=2)
    assert [verdict for *_, verdict in sent.hooked] == [Verdict.UNSENT, Verdict.UNSENT, Verdict.ACCEPTED]


def test_the_breaker_of_a_caller_stops_its_pushes_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def work(sent: Sent) -> None:
        sending = asyncio.create_task(sent.send(*range(1, RUN + 1), caller="wrong"))
        await sent.settle()
        sent.client.answer(verdict=Verdict.MISCONFIGURED, reason="TopicDisallowed")
        await sending
        assert list(sent.sender.open_breakers) == ["wrong"]
        (stopped,) = await sent.send(1000, caller="wrong")
        assert stopped.verdict is Verdict.UNSENT
        assert "TopicDisallowed" in str(stopped.detail)
        assert 0 < stopped.retry_after <= 30  # type: ignore[operator]
        other = asyncio.create_task(sent.send(1001))
        await sent.settle()
        sent.client.answer(1001)
        assert verdicts(await other) == ["ACCEPTED"]
        await asyncio.sleep(30)
        probe = asyncio.create_task(sent.send(1002, 1003, caller="wrong"))
        await sent.settle()
        assert sent.client.sent[-1] == 1002
        sent.client.answer(1002)
        assert verdicts(await probe) == ["ACCEPTED", "UNSENT"]
        assert not sent.sender.open_breakers

    sending(work)
    assert "the pushes of caller wrong are stopped" in caplog.text


def test_after_an_error_in_the_engine_it_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    async def work(sent: Sent) -> None:
        engine: Any = sent.sender._engine
        send = engine._send_for_lists

        async def fail(source: Any) -> Any:
            engine._send_for_lists = send
            async for _ in source:
                raise LookupError("a fault")
            yield

        engine._send_for_lists = fail
        results = await sent.send(1, 2)
        assert verdicts(results) == ["UNKNOWN", "UNKNOWN"]
        assert results[0].detail == senders.INTERNAL
        again = asyncio.create_task(sent.send(3))
        await asyncio.sleep(senders.RESTART)
        await sent.settle()
        sent.client.answer(3)
        assert verdicts(await again) == ["ACCEPTED"]

    sending(work)
    assert "the engine was restarted" in caplog.text


def test_a_request_that_cannot_take_its_results_costs_others_none(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def finish(self, entries: Any, results: Any) -> None:
            raise LookupError("a fault")

    async def work(sent: Sent) -> None:
        submissions = Submissions("web", Broken())
        submitted, entries = submissions[sent.sender]
        entries += [(ScriptedPush(number), number, submitted) for number in (1, 2)]
        submissions.submit()
        other = asyncio.create_task(sent.send(3))
        await sent.settle()
        sent.client.answer()
        assert verdicts(await other) == ["ACCEPTED"]
        assert not sent.sender.busy

    sending(work)
    assert "results were lost after LookupError" in caplog.text


def test_an_engine_that_was_closed_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(sent: Sent) -> None:
        assert sent.sender._task is not None
        assert sent.sender._task.done()

    class Closed:
        async def __aenter__(self) -> Any:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def _send_for_lists(self, source: Any) -> Any:
            raise ClosedError("closed")
            yield

    monkeypatch.setattr(senders, "PushEngine", lambda *_, **__: Closed())

    async def slow(sent: Sent) -> None:
        await sent.settle()
        await work(sent)

    sending(slow)


def test_a_sender_that_closes_finishes_what_it_has_and_takes_nothing_more() -> None:
    sent = Sent()

    async def work() -> None:
        await sent.sender.open()
        sending = asyncio.create_task(sent.send(1))
        await sent.settle()
        closing = asyncio.create_task(sent.sender.close())
        await sent.settle()
        assert not closing.done()
        (late,) = await sent.send(2)
        assert (late.verdict, late.detail) == (Verdict.UNSENT, "not sent: the gateway is stopping")
        sent.client.answer(1)
        await closing
        assert verdicts(await sending) == ["ACCEPTED"]
        assert sent.client.calls == ["open", "close"]

    run(work())


def test_a_sender_that_was_never_opened_can_be_closed() -> None:
    run(Sent().sender.close())


def test_a_sender_that_is_replaced_is_closed_when_it_has_been_idle_for_a_while() -> None:
    sent = Sent()

    async def work() -> None:
        await sent.sender.open()
        sending = asyncio.create_task(sent.send(1))
        closing = asyncio.create_task(sent.sender.close_when_idle())
        await asyncio.sleep(5 * IDLE)
        assert not closing.done()
        sent.client.answer()
        await sending
        await asyncio.sleep(IDLE)
        assert closing.done()

    run(work())


class Broadcasting(ScriptedClient):
    """Its broadcasts end with `outcome`."""

    outcome: Any = None

    async def broadcast(self, push: Any) -> Any:
        await asyncio.sleep(1)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("fails", [True, False])
def test_a_broadcast_is_no_push_of_the_engine(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    sent = Sent()
    sent.sender.client = client = Broadcasting()
    push = Broadcast("Y2g=", {"aps": {}})
    client.outcome = LookupError("a fault") if fails else Result(push, Verdict.ACCEPTED, 200)

    async def work() -> None:
        sent.sender._loop = asyncio.get_running_loop()
        sending = asyncio.create_task(send_all("web", [(sent.sender, push)]))
        await sent.settle()
        assert sent.sender.busy
        (result,) = await sending
        assert result.verdict is (Verdict.UNKNOWN if fails else Verdict.ACCEPTED)
        await sent.settle()
        assert not sent.sender.busy

    run(work())
    assert ("a broadcast failed" in caplog.text) == fails


def test_readiness_and_the_age_of_a_token() -> None:
    async def work(sent: Sent) -> None:
        sender = sent.sender
        assert (sender.ready, sender.connections, sender.token_age, sender.problem) == (True, 1, None, "")
        sender.metrics.token_rotated("apns")
        await asyncio.sleep(7)
        assert sender.token_age == pytest.approx(7)
        sender.metrics.connection_failed("apns", "host", ConnectError(""))
        assert sender.problem == "ConnectError"
        assert sender.ready, "while there is a connection"
        sent.client.scripted.links.clear()
        assert not sender.ready
        sender.metrics.connection_opened("apns", "host")
        assert sender.ready

    sent = sending(work)
    assert (sent.sender.ready, sent.sender.connections) == (False, 0)


def test_what_instances_share_is_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []

    class Shared:
        async def __aenter__(self) -> Shared:
            log.append("enter")
            return self

        async def __aexit__(self, *_: object) -> None:
            log.append("exit")

    shared, given = Shared(), list[Any]()
    engine: Any = vars(senders)["PushEngine"]

    def make(*clients: Any, **options: Any) -> Any:
        given.append(options.pop("shared"))
        return engine(*clients, **options)

    monkeypatch.setattr(senders, "PushEngine", make)
    sender = AppSender("shop", "fcm", "", ScriptedClient(), fleet=lambda: shared)  # type: ignore[arg-type, return-value]

    async def work() -> None:
        await sender.open()
        assert given == [shared]
        await sender.close()

    run(work())
    assert log == ["enter", "exit"]
