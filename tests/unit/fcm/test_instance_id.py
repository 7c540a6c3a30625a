"""The instance-id API's answers: one outcome for each registration, whatever the server says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.fcm.instance_id import (
    REASONS,
    BatchRequestBuilder,
    InstanceInfo,
    read_batch,
    read_info,
    read_rejection,
)
from pushcore.reasons import UNEXPECTED, UNEXPECTED_SUCCESS, UNNAMED, Reason, lookup
from pushcore.results import Verdict

DOCUMENTED = {
    "NOT_FOUND": "INVALID",
    "INVALID_ARGUMENT": "INVALID",
    "TOO_MANY_TOPICS": "INVALID",
    "RESOURCE_EXHAUSTED": "THROTTLED",
    "PERMISSION_DENIED": "MISCONFIGURED",
    "DEADLINE_EXCEEDED": "UNAVAILABLE",
    "INTERNAL": "UNAVAILABLE",
    "UNKNOWN": "UNAVAILABLE",
}

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_a_batch() -> None:
    assert orjson.loads(BatchRequestBuilder.body("news", ["a", "b"])) == {
        "to": "/topics/news",
        "registration_tokens": ["a", "b"],
    }
    assert BatchRequestBuilder.path(True).endswith(b"/iid/v1:batchAdd")
    assert BatchRequestBuilder.path(False).endswith(b"/iid/v1:batchRemove")


def test_results_in_their_order() -> None:
    words = ["", *DOCUMENTED, "SOMETHING_NEW"]
    body = orjson.dumps({"results": [{"error": word} if word else {} for word in words]})
    outcomes = read_batch(body, len(words))
    assert [outcome.reason for outcome in outcomes] == [None, *words[1:]]
    assert [outcome.verdict.value for outcome in outcomes] == ["ACCEPTED", *DOCUMENTED.values(), "INVALID"]
    assert [outcome.row for outcome in outcomes[1:-1]] == list(REASONS.values())


@pytest.mark.parametrize("row", REASONS.values(), ids=lambda row: row.name)
def test_each_reason_is_a_row_of_the_table(row: Reason) -> None:
    assert row.verdict.value == DOCUMENTED[row.name]
    assert row.verdict is not Verdict.UNREGISTERED  # no token is dropped by this API's words
    assert (row.wait is not None) == (row.verdict in (Verdict.THROTTLED, Verdict.UNAVAILABLE))
    assert (row.scope == "project") == (row.verdict is Verdict.THROTTLED)
    assert row.advice.endswith(".")
    assert lookup("fcm", 200, row.name) is row


def test_the_words_mean_something_else_in_other_responses_of_google() -> None:
    assert lookup("fcm", 404, "NOT_FOUND").verdict is Verdict.MISCONFIGURED  # there is no such project
    assert lookup("fcm", 400, "INVALID_ARGUMENT").status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"results":{}}',
        b'{"results":[{}]}',
        b'{"results":[{},{},{}]}',
        b'{"results":[' + b"{}," * 60_000 + b"{}]}",
    ],
)
def test_a_response_that_does_not_fit_is_unknown_for_all(body: bytes) -> None:
    assert [outcome.verdict for outcome in read_batch(body, 2)] == [Verdict.UNKNOWN] * 2


@given(json, st.integers(0, 5))
def test_there_is_one_result_per_token(document: Any, count: int) -> None:
    for body in (orjson.dumps(document), orjson.dumps({"results": document})):
        assert len(read_batch(body, count)) == count
        assert read_rejection(count * 100, body).detail != ""


@pytest.mark.parametrize(
    ("status", "body", "verdict", "reason"),
    [
        (400, b'{"error":"InvalidArguments"}', Verdict.INVALID, "InvalidArguments"),
        (403, b'{"error":"PERMISSION_DENIED"}', Verdict.MISCONFIGURED, "PERMISSION_DENIED"),
        (404, b'{"error":"No information found"}', Verdict.INVALID, "No information found"),
        (429, b'{"error":"RESOURCE_EXHAUSTED"}', Verdict.THROTTLED, "RESOURCE_EXHAUSTED"),
        (503, b'{"error":"NOT_FOUND"}', Verdict.UNAVAILABLE, "NOT_FOUND"),
        (401, b"<TITLE>Unauthorized</TITLE><H2>Error 401</H2>", Verdict.MISCONFIGURED, None),
        (403, b'{"error":{"code":403,"status":"DENIED"}}', Verdict.MISCONFIGURED, "DENIED"),
    ],
)
def test_a_rejection_of_a_whole_request(status: int, body: bytes, verdict: Verdict, reason: str) -> None:
    failure = read_rejection(status, body, "7")
    assert (failure.verdict, failure.reason, failure.retry_after) == (verdict, reason, 7.0)
    assert failure.refresh_token == (status == 401)
    assert failure.row is not UNEXPECTED


def test_the_row_of_a_rejection() -> None:
    assert read_rejection(429, b'{"error":"RESOURCE_EXHAUSTED"}').row is REASONS["RESOURCE_EXHAUSTED"]
    assert read_rejection(400, b'{"error":"RESOURCE_EXHAUSTED"}').row is UNNAMED[Verdict.INVALID]


@pytest.mark.parametrize("status", [200, 301, 401, 403, 404, 413])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message":"no route"}', b'{"error":"not found"}'])
def test_a_rejection_by_another_server(status: int, body: bytes) -> None:
    assert read_rejection(status, body).row is (UNEXPECTED_SUCCESS if status == 200 else UNEXPECTED)


def test_an_app_instance() -> None:
    info = {
        "application": "com.example.app",
        "authorizedEntity": "1234",
        "platform": "IOS",
        "applicationVersion": "7",
        "rel": {"topics": {"news": {"addDate": "2015-07-30"}, "odd": 5}},
    }
    assert read_info(info) == InstanceInfo(
        "com.example.app", "1234", "IOS", "7", {"news": "2015-07-30", "odd": None}
    )
    assert read_info({}) == InstanceInfo()


@given(st.dictionaries(st.sampled_from(["application", "rel", "platform"]), json))
def test_any_content_can_be_read(info: dict[str, Any]) -> None:
    read_info(info)
    read_info({"rel": {"topics": info}})
