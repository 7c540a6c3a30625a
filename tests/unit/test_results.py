"""Results go where their caller takes them: copied, and pickled to another process."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import (
    ApnsClient,
    ApnsKey,
    Broadcast,
    LegacyMessage,
    Message,
    Notification,
    Result,
    TopicChange,
    Verdict,
)
from pushcore.apns.reasons import REASONS
from pushcore.errors import ConnectionLost, PushRejected
from pushcore.http2.exchange import NO_FIELDS, request
from pushcore.http2.headers import HeaderTemplate
from pushcore.reasons import UNNAMED

ID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"
COPIES: list[Callable[[Any], Any]] = [
    copy.copy,
    copy.deepcopy,
    lambda result: pickle.loads(pickle.dumps(result)),
]


def accepted() -> Result:
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    exchange = request(HeaderTemplate(()), b"", b"", NO_FIELDS, print, Notification("ab", {}))
    exchange.status, exchange.attempts = 200, 2
    exchange.header_block = b"\x88\x00\x07apns-id\x24" + ID.encode()
    results: list[Result] = []
    assert ApnsClient(key, topic="com.example.app")._dispatcher.accept([exchange], results) == []
    return results[0]


@pytest.mark.parametrize("copied", COPIES)
def test_an_accepted_one_can_be_copied(copied: Callable[[Any], Any]) -> None:
    result = copied(accepted())
    assert (result.ok, result.verdict, result.status, result.attempts) == (True, Verdict.ACCEPTED, 200, 2)
    assert result.push == Notification("ab", {})
    assert result.id == ID
    assert repr(result) == "<Result ACCEPTED 200>"


@pytest.mark.parametrize("copied", COPIES)
def test_and_any_other(copied: Callable[[Any], Any]) -> None:
    push = Notification("ab", {})
    result = copied(Result(push, Verdict.UNREGISTERED, 410, 1, reason="Unregistered", timestamp=7.0))
    assert (result.drop_token, result.reason, result.timestamp) == (True, "Unregistered", 7.0)
    assert result.push == push


# --- to_dict ------------------------------------------------------------------------------------------------------

KEYS = [
    "push",
    "verdict",
    "status",
    "reason",
    "id",
    "timestamp",
    "retry_after",
    "attempts",
    "detail",
    "advice",
]


class Named(Notification):
    __slots__ = ("row",)
    identifiers: ClassVar[tuple[str, ...]] = (*Notification.identifiers, "row")

    def __init__(self, token: str, row: int) -> None:
        super().__init__(token, {})
        self.row = row


@pytest.mark.parametrize(
    ("push", "identity"),
    [
        (Notification("ab", {"aps": {"alert": "secret"}}), {"token": "ab"}),
        (Notification("ab", b"{}", apns_id=ID), {"token": "ab", "apns_id": ID}),
        (Notification(7, {}), {"token": 7}),  # type: ignore[arg-type]  # what came back as INVALID
        (Notification(b"ab", {}), {"token": "b'ab'"}),  # type: ignore[arg-type]
        (Named("ab", 3), {"token": "ab", "row": 3}),
        (Message(token="ab", data={"k": "v"}), {"token": "ab"}),
        (Message(topic="news"), {"topic": "news"}),
        (LegacyMessage(to="ab"), {"to": "ab"}),
        (LegacyMessage(registration_ids=("ab", "cd")), {"registration_ids": ["ab", "cd"]}),
        (Broadcast("channel", {}), {"channel_id": "channel"}),
        (TopicChange("ab", "news", True), {"token": "ab", "topic": "news"}),
        ("channel", "channel"),
        (object(), {}),
        (None, {}),
    ],
)
def test_a_dict_names_the_push_and_not_its_payload(push: Any, identity: Any) -> None:
    result = Result(push, Verdict.INVALID, detail="wrong")
    found = result.to_dict()
    assert found["push"] == identity
    assert json.loads(json.dumps(found)) == found


def test_the_dict_of_an_accepted_push() -> None:
    found = accepted().to_dict()
    assert list(found) == KEYS
    assert found == {
        **dict.fromkeys(KEYS),
        "push": {"token": "ab"},
        "verdict": "ACCEPTED",
        "status": 200,
        "id": ID,
        "attempts": 2,
    }


def test_the_dict_of_any_other_result() -> None:
    push = Notification("ab", {}, apns_id=ID)
    found = Result(
        push,
        Verdict.THROTTLED,
        429,
        1,
        reason="TooManyRequests",
        retry_after=7.5,
        detail=ConnectionLost("gone"),
    ).to_dict()
    assert list(found) == KEYS
    assert (found["verdict"], found["status"], found["reason"]) == ("THROTTLED", 429, "TooManyRequests")
    assert (found["retry_after"], found["detail"]) == (7.5, str(ConnectionLost("gone")))
    assert found["advice"] == REASONS["TooManyRequests"].advice
    gone = Result(push, Verdict.UNREGISTERED, 410, timestamp=1.5e9).to_dict()
    assert (gone["timestamp"], gone["retry_after"], gone["id"]) == (1.5e9, None, None)
    assert gone["advice"] == UNNAMED[Verdict.UNREGISTERED].advice


def test_numbers_that_json_does_not_have_are_null() -> None:
    found = Result("a", Verdict.THROTTLED, retry_after=math.inf, timestamp=math.nan).to_dict()
    assert (found["retry_after"], found["timestamp"]) == (None, None)


def test_only_what_was_not_accepted_is_raised() -> None:
    Result(None, Verdict.ACCEPTED, 200, 1).raise_for_verdict()
    result: Result[None] = Result(None, Verdict.INVALID, 400, 1, reason="BadTopic", detail="odd")
    with pytest.raises(PushRejected, match=r"INVALID 400 BadTopic \(odd\)") as raised:
        result.raise_for_verdict()
    assert raised.value.result is result
