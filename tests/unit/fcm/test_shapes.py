"""Shapes: what tells two messages apart, how long an accepted one is proof, and what the client makes of a blamed token."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore import FcmClient, Result
from pushcore.fcm.shapes import MAX_SHAPES, WINDOW, AcceptedShapes, shape_of_part
from pushcore.http2.exchange import Exchange
from pushcore.models.fcm import FcmNotification, Message
from pushcore.results import Verdict
from tests.unit.fcm.building import FID, TOKEN, accepted, account, build, requests

APNS: dict[str, Any] = {
    "headers": {"apns-push-type": "alert", "apns-priority": "10"},
    "payload": {"aps": {"alert": {"title": "Hi"}, "sound": "default"}},
}


def blamed(field: str = "message.token") -> bytes:
    details = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": field, "description": "Invalid registration token"}],
        },
    ]
    error = {"code": 400, "message": "m", "status": "INVALID_ARGUMENT", "details": details}
    return orjson.dumps({"error": error})


class Responses:
    """A client's dispatcher, which is told what its messages were responded; nothing is opened."""

    def __init__(self) -> None:
        self.dispatcher = FcmClient(account())._dispatcher
        self.made = 0

    def make(self, push: Message, status: int, body: bytes) -> Exchange:
        exchange = build(push, self.dispatcher.requests)
        assert isinstance(exchange, Exchange), exchange
        exchange.status, exchange.data, exchange.header_block = status, body, b"\x88"
        return exchange

    def take(self, *exchanges: Exchange) -> list[Result]:
        """What became of exchanges that were finished together."""
        results: list[Result] = []
        for exchange in self.dispatcher.accept(list(exchanges), results):
            result = self.dispatcher.result(exchange, exchange.context)
            assert result is not None
            results.append(result)
        return results

    def accept(self, push: Message, count: int = 1) -> None:
        results = self.take(*(self.make(push, 200, accepted()) for _ in range(count)))
        assert all(result.ok for result in results)

    def blame(self, push: Message) -> Result:
        (result,) = self.take(self.make(push, 400, blamed()))
        assert (result.status, result.reason) == (400, "INVALID_ARGUMENT")
        assert result.drop_token is (result.verdict is Verdict.UNREGISTERED)
        assert result.suspect is (result.verdict is Verdict.INVALID)
        assert result.row.blame == "token"
        return result


def to(**fields: Any) -> Message:
    return Message(**{"token": TOKEN, **fields})


SHAPES: dict[str, Message] = {
    "plain": to(data={"a": "b"}),
    "android": to(android={"priority": "HIGH"}),
    "apns, a topic": to(apns={**APNS, "headers": {**APNS["headers"], "apns-topic": "com.example.app"}}),
    "apns, another topic": to(
        apns={**APNS, "headers": {**APNS["headers"], "apns-topic": "com.example.app.voip"}}
    ),
    "android, more keys": to(android={"priority": "HIGH", "ttl": "5s"}),
    "android with a notification": to(android={"notification": {"title": "Hi"}}),
    "android with another notification": to(android={"notification": {"title": "Hi", "tag": "a"}}),
    "android_v2": to(android_v2={"background_sync": {}}),
    "webpush": to(webpush={"headers": {"TTL": "5"}}),
    "webpush, other headers": to(webpush={"headers": {"Urgency": "high"}}),
    "apns": to(apns=APNS),
    "apns with a notification": to(apns=APNS, notification={"title": "Hi"}),
    "apns without payload": to(apns={"headers": APNS["headers"]}),
    "apns without headers": to(apns={"payload": APNS["payload"]}),
    "apns, another type": to(apns={**APNS, "headers": {"apns-push-type": "voip", "apns-priority": "10"}}),
    "apns, another priority": to(apns={**APNS, "headers": {"apns-push-type": "alert", "apns-priority": "5"}}),
    "apns, more headers": to(apns={**APNS, "headers": {**APNS["headers"], "apns-collapse-id": "a"}}),
    "apns, other aps": to(apns={**APNS, "payload": {"aps": {"content-available": 1}}}),
    "apns and android": to(apns=APNS, android={"priority": "HIGH"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_blamed_token_is_dead_where_the_same_shape_was_accepted_and_nowhere_else(name: str) -> None:
    for other, push in SHAPES.items():
        responses = Responses()
        responses.accept(push)
        verdict = responses.blame(SHAPES[name]).verdict
        assert verdict is (Verdict.UNREGISTERED if other == name else Verdict.INVALID), other


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (to(data={"a": "b"}), Message(fid=FID, notification=FcmNotification("Hi"))),
        (to(data={"a": "b"}), to(data={"c": "d"}, validate_only=True)),
        (to(apns=APNS), to(apns={**APNS, "payload": {"aps": {"alert": "You", "sound": "bell"}}})),
        (to(apns=APNS), to(apns={"payload": APNS["payload"], "headers": APNS["headers"]})),
        (
            to(apns={"headers": {"apns-expiration": "1999999999"}, "payload": APNS["payload"]}),
            to(apns={"headers": {"APNS-Expiration": "1999999998"}, "payload": APNS["payload"]}),
        ),
        (to(android={"ttl": "5s", "data": {"a": "b"}}), to(android={"ttl": "6s", "data": {"c": "d"}})),
        (to(android={"notification": {"title": "a"}}), to(android={"notification": {"title": "b"}})),
    ],
)
def test_device_specific_values_are_no_part_of_a_shape(first: Message, second: Message) -> None:
    responses = Responses()
    responses.accept(first)
    assert responses.blame(second).drop_token


def test_nothing_is_proven_before_the_first_is_accepted_and_nothing_is_revised() -> None:
    responses = Responses()
    before = responses.blame(to())
    assert before.suspect
    responses.accept(to())
    assert responses.blame(to()).drop_token
    assert before.suspect
    assert not before.drop_token


def test_a_rejection_proves_no_shape() -> None:
    responses = Responses()
    responses.accept(to(android={"priority": "HIGH"}))
    assert responses.blame(to()).suspect
    assert responses.blame(to()).suspect


def test_responses_of_one_batch_are_simultaneous() -> None:
    responses = Responses()
    results = responses.take(responses.make(to(), 400, blamed()), responses.make(to(), 200, accepted()))
    assert [result.verdict for result in results] == [Verdict.ACCEPTED, Verdict.UNREGISTERED]


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_proof_lasts_for_a_number_of_responses(interrupted: bool) -> None:
    """Whether the responses since are rejections of the same shape, or accepted messages of another."""
    responses = Responses()
    responses.accept(to())
    other = to(android={"priority": "HIGH"})
    filler = responses.make(other, 200, accepted()) if interrupted else responses.make(to(), 400, b"{}")
    for _ in range(WINDOW - 2):
        responses.take(filler)
    assert responses.blame(to()).drop_token
    assert responses.blame(to()).suspect
    assert responses.blame(other).drop_token is interrupted


def test_a_shape_that_was_accepted_again_is_proven_anew() -> None:
    responses = Responses()
    first, second = responses.make(to(), 200, accepted()), responses.make(to(apns=APNS), 200, accepted())
    for _ in range(WINDOW):
        responses.take(first, second)
    assert responses.blame(to()).drop_token
    assert responses.blame(to(apns=APNS)).drop_token
    assert len(responses.dispatcher.requests.accepted_shapes.accepted_at) <= 3


def test_an_accepted_message_whose_name_is_laid_out_otherwise_is_proof_as_well() -> None:
    responses = Responses()
    (result,) = responses.take(responses.make(to(), 200, b'{"name" : "projects/p/messages/1"}'))
    assert result.ok
    assert responses.blame(to()).drop_token


def test_a_part_that_its_owner_changes_later_proves_nothing_about_what_it_is_then() -> None:
    responses = Responses()
    part: dict[str, Any] = {"payload": {"aps": {"alert": "Hi"}}}
    first = responses.make(to(apns=part), 200, accepted())
    part["headers"] = {"apns-push-type": "background"}
    responses.take(first)
    assert responses.blame(to(apns=part)).suspect
    del part["headers"]
    assert responses.blame(to(apns=part)).drop_token


def test_each_of_many_personal_parts_has_the_shape_of_all() -> None:
    responses = Responses()
    for number in range(2000):
        responses.accept(to(apns={"payload": {"aps": {"alert": f"Hello {number}"}}}))
    assert responses.blame(to(apns={"payload": {"aps": {"alert": "x" * 2000}}})).drop_token


def test_the_number_of_shapes_is_bounded() -> None:
    responses = Responses()
    shapes = responses.dispatcher.requests.accepted_shapes
    for number in range(3 * MAX_SHAPES):
        responses.accept(to(apns={"payload": {"aps": {"alert": "Hi"}, f"key{number}": 1}}))
        assert len(shapes.accepted_at) <= MAX_SHAPES + 2
    assert responses.blame(to(apns={"payload": {"aps": {"alert": "Hi"}, f"key{number}": 2}})).drop_token


def test_apns_own_reason_for_a_dead_token_needs_no_proof() -> None:
    details = [
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
        {
            "@type": "type.googleapis.com/google.firebase.fcm.v1.ApnsError",
            "statusCode": 410,
            "reason": "Unregistered",
        },
    ]
    body = orjson.dumps({"error": {"code": 400, "status": "INVALID_ARGUMENT", "details": details}})
    responses = Responses()
    (result,) = responses.take(responses.make(to(apns=APNS), 400, body))
    assert result.drop_token


def test_the_shape_of_a_message_is_that_of_its_parts_in_any_order_of_building() -> None:
    builder = requests()
    pushes = [*SHAPES.values()] * 3
    exchanges: list[Any] = [build(push, builder) for push in (*pushes, *reversed(pushes))]
    by_shape: dict[Any, set[int]] = {}
    for number, exchange in enumerate(exchanges):
        push = [*pushes, *reversed(pushes)][number]
        by_shape.setdefault(exchange.shape, set()).add(id(push))
    assert sorted(map(len, by_shape.values())) == [1] * len(SHAPES)


@given(
    st.dictionaries(
        st.sampled_from(["headers", "payload", "notification", "remote_notification", "ttl"]),
        st.none()
        | st.text(max_size=3)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(st.sampled_from(["aps", "apns-push-type", "a"]), st.text(max_size=2), max_size=2),
    ),
    st.sampled_from(["android", "android_v2", "apns", "webpush"]),
)
def test_a_shape_can_be_compared_whatever_the_part_is(part: dict[str, Any], name: str) -> None:
    shape = shape_of_part(name, part)
    shapes = AcceptedShapes()
    pair = shapes.pair((shape,), apns=name == "apns")
    assert shapes.pair((shape_of_part(name, dict(reversed(part.items()))),), apns=name == "apns") is pair
    assert (pair.silent is pair.alerting) == (name != "apns")
