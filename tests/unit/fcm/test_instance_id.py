"""The instance-id API's answers: one outcome for each registration, whatever the server says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.fcm.instance_id import (
    WORDS,
    BatchRequestBuilder,
    InstanceInfo,
    read_batch,
    read_info,
    whole_reason,
)
from pushcore.results import Verdict

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
    words = ["", *WORDS, "SOMETHING_NEW"]
    body = orjson.dumps({"results": [{"error": each} if each else {} for each in words]})
    found = read_batch(body, len(words))
    assert [each.reason for each in found] == [None, *words[1:]]
    assert [each.verdict for each in found] == [Verdict.ACCEPTED, *WORDS.values(), Verdict.INVALID]
    assert Verdict.UNREGISTERED not in {
        each.verdict for each in found
    }  # no token is dropped by this API's words


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
def test_an_answer_that_does_not_fit_is_unknown_for_all(body: bytes) -> None:
    assert [each.verdict for each in read_batch(body, 2)] == [Verdict.UNKNOWN] * 2


@given(json, st.integers(0, 5))
def test_there_is_always_one_for_each(document: Any, count: int) -> None:
    for body in (orjson.dumps(document), orjson.dumps({"results": document})):
        assert len(read_batch(body, count)) == count
        whole_reason(body)


def test_the_word_for_the_whole() -> None:
    assert whole_reason(b'{"error":"InvalidArguments"}') == "InvalidArguments"
    assert whole_reason(b"<html>") is None


def test_an_app_instance() -> None:
    found = {
        "application": "com.example.app",
        "authorizedEntity": "1234",
        "platform": "IOS",
        "applicationVersion": "7",
        "rel": {"topics": {"news": {"addDate": "2015-07-30"}, "odd": 5}},
    }
    assert read_info(found) == InstanceInfo(
        "com.example.app", "1234", "IOS", "7", {"news": "2015-07-30", "odd": None}
    )
    assert read_info({}) == InstanceInfo()


@given(st.dictionaries(st.sampled_from(["application", "rel", "platform"]), json))
def test_whatever_it_says_can_be_read(found: dict[str, Any]) -> None:
    read_info(found)
    read_info({"rel": {"topics": found}})
