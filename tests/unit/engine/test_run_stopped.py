"""A run whose breaker has found that all would fail: who stops, who goes on, and what the caller is told."""

from __future__ import annotations

from pushcore.engine.run import Run
from pushcore.errors import BreakerOpen
from pushcore.results import Verdict
from tests.support.scripted import EventLog, OtherScriptedPush, ScriptedClient, ScriptedPush
from tests.unit.engine.test_run import begin, end, take, turn


async def refused(run: Run, client: ScriptedClient, reason: str = "BadTopic") -> None:
    for row in list(client.sent):
        client.answer(row, verdict=Verdict.MISCONFIGURED, reason=reason)
    await turn()


async def test_the_only_lane_that_is_stopped_stops_the_run() -> None:
    log, client = EventLog(), ScriptedClient()
    run = begin([ScriptedPush(row) for row in range(1, 1000)], client, window=20, breaker=True, listener=log)
    await turn()
    await refused(run, client)
    assert run.stopping
    assert len(client.sent) == 20
    assert len(take(run)) == 20
    broken = run.broken()
    assert isinstance(broken, BreakerOpen)
    assert broken.reason == "BadTopic"
    told = [event for event in log.events if event[0] == "breaker_opened"]
    assert told == [("breaker_opened", "apns", str(broken))]
    await end(run)


async def test_the_other_provider_goes_on() -> None:
    apns, fcm = ScriptedClient(ScriptedPush), ScriptedClient(OtherScriptedPush, name="fcm")
    source = [ScriptedPush(row) for row in range(1, 21)] + [OtherScriptedPush(row) for row in range(21, 26)]
    run = begin([*source, ScriptedPush(26), OtherScriptedPush(27)], apns, fcm, window=25, breaker=True)
    await turn()
    await refused(run, apns)
    assert not run.stopping
    take(run)
    await turn()
    assert (len(apns.sent), fcm.sent) == (20, [21, 22, 23, 24, 25, 27])
    assert [(each.push.row, each.verdict) for each in run.ready] == [(26, Verdict.UNSENT)]
    fcm.answer()
    await turn()
    take(run)
    assert run.done
    broken = run.broken()
    assert broken is not None
    assert str(broken).startswith("BadTopic")
    await end(run)


async def test_when_both_refuse_everything_the_error_names_both() -> None:
    log = EventLog()
    apns, fcm = ScriptedClient(ScriptedPush), ScriptedClient(OtherScriptedPush, name="fcm")
    run = begin([ScriptedPush(1), OtherScriptedPush(2)], apns, fcm, breaker=True, listener=log)
    await turn()
    await refused(run, apns)
    await refused(run, fcm, "SENDER_ID_MISMATCH")
    take(run)
    broken = run.broken()
    assert broken is not None
    assert str(broken).startswith("apns: BadTopic")
    assert "; fcm: SENDER_ID_MISMATCH" in str(broken)
    assert broken.reason == "BadTopic"
    assert [event[:2] for event in log.events if event[0] == "breaker_opened"] == [
        ("breaker_opened", "apns"),
        ("breaker_opened", "fcm"),
    ]
    await end(run)


async def test_a_run_with_a_push_that_was_accepted_is_not_broken() -> None:
    client = ScriptedClient()
    run = begin([ScriptedPush(1), ScriptedPush(2)], client, breaker=True)
    await turn()
    client.answer(1)
    client.answer(2, verdict=Verdict.MISCONFIGURED, reason="BadTopic")
    take(run)
    assert run.broken() is None
    await end(run)
