"""One push becomes one request or one result, by the same loop as a burst."""

from __future__ import annotations

import pytest

from pushcore.http2.exchange import Exchange
from pushcore.requests import build_one
from pushcore.results import Result, Verdict
from tests.support.scripted import OtherScriptedPush, ScriptedPush, ScriptedRequests


def test_a_push_that_can_be_sent_is_a_request_with_its_sink_and_deadline() -> None:
    finished: list[Exchange] = []
    push = ScriptedPush(3)
    made = build_one(ScriptedRequests(), push, finished.extend, 12.5)
    assert isinstance(made, Exchange)
    assert (made.context, made.deadline, made.attempts) == (push, 12.5, 1)
    made.sink([made])
    assert finished == [made]


def test_a_push_that_cannot_be_sent_is_its_result() -> None:
    push = ScriptedPush(3, invalid=Verdict.INVALID)
    result = build_one(ScriptedRequests(), push, lambda _: pytest.fail("nothing was sent"), 0.0)
    assert isinstance(result, Result)
    assert (result.push, result.verdict) == (push, Verdict.INVALID)


def test_a_push_of_a_derived_class_is_built_as_what_it_is() -> None:
    assert isinstance(build_one(ScriptedRequests(), OtherScriptedPush(1), lambda _: None, 0.0), Exchange)
