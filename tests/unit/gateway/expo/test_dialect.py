"""Expo's dialect without HTTP: whose push goes where, which ticket each outcome becomes, and what a request is rejected for."""

from __future__ import annotations

import os
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.gateway.expo import dialect
from pushcore.gateway.expo.dialect import Contents, ExpoError, Plan
from pushcore.gateway.expo.sealed import KEY_BYTES, AppDevice, Receipts, Seal, SealedTokens
from pushcore.models.apns import Notification
from pushcore.models.fcm import Message
from pushcore.models.tokens import TokenKind

NOW = 1_800_000_000.0
IOS = "ab" * 32
ANDROID = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
ISSUED = "ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]"
SEAL = Seal([bytes(KEY_BYTES)])
SEALED = SealedTokens(SEAL, [("shop", ""), ("shop", "com.example.shop"), ("news", "")])
RECEIPTS = Receipts(SEAL)
ON_IOS = SEALED.seal(AppDevice("shop", TokenKind.APNS, IOS, "com.example.shop", "sandbox"))
ON_ANDROID = SEALED.seal(AppDevice("shop", TokenKind.FCM, ANDROID))
OF_NEWS = SEALED.seal(AppDevice("news", TokenKind.FCM, ANDROID))


def planned(
    document: Any, *, apps: Any = ("shop",), app: str | None = "shop", forwards: bool = False
) -> Plan:
    return dialect.plan(dialect.read_send(document), SEALED, apps, app, lambda name: forwards)


def error_of(plan: Plan, number: int = 0) -> tuple[str, str]:
    ticket = plan.tickets[number]
    assert ticket is not None
    assert ticket["status"] == "error"
    return ticket["details"]["error"], ticket["message"]


# --- requests -------------------------------------------------------------------------------------------------------


def test_recipients_are_in_order_and_counted_one_by_one() -> None:
    request = dialect.read_send(
        [{"to": "a", "title": "T"}, {"to": ["b", "c"], "body": "B"}, {"to": []}, "no", {}]
    )
    assert not request.single
    assert request.recipients == [(0, "a"), (1, "b"), (1, "c"), (3, None), (4, None)]
    assert request.contents == [{"title": "T"}, {"body": "B"}, {}, "a message must be an object", {}]


@pytest.mark.parametrize(
    ("document", "single"), [({"to": "a"}, True), ({}, True), ({"to": ["a"]}, False), ([{"to": "a"}], False)]
)
def test_a_message_that_is_not_in_a_list_has_a_ticket_that_is_not_either(document: Any, single: bool) -> None:
    request = dialect.read_send(document)
    assert request.single is single
    data = orjson.loads(dialect.send_response(request, [{"status": "ok"}]))["data"]
    assert data == ({"status": "ok"} if single else [{"status": "ok"}])


@pytest.mark.parametrize(
    "document", [[{"to": [IOS] * 101}], [{"to": IOS}] * 101, [{"to": [IOS] * 60}, {"to": [IOS] * 60}]]
)
def test_more_than_100_recipients(document: Any) -> None:
    with pytest.raises(ExpoError, match="100 notifications") as raised:
        dialect.read_send(document)
    assert (raised.value.status, raised.value.code) == (400, "PUSH_TOO_MANY_NOTIFICATIONS")
    assert len(dialect.read_send([{"to": [IOS] * 60}, {"to": [IOS] * 40}]).recipients) == 100


@pytest.mark.parametrize("body", [b"", b"{", b"1", b'"x"', b"null", b"\xff"])
def test_a_body_that_is_no_request(body: bytes) -> None:
    with pytest.raises(ExpoError) as raised:
        dialect.read_send(dialect.read_json(body))
    assert (raised.value.status, raised.value.code) == (400, "VALIDATION_ERROR")
    (error,) = orjson.loads(raised.value.body())["errors"]
    assert error.keys() == {"code", "message"}


@pytest.mark.parametrize("body", [b"\xff", '{"title": "\xfc"}'.encode("latin-1"), "{}".encode("utf-16")])
def test_a_body_that_is_not_utf_8_is_told_so(body: bytes) -> None:
    with pytest.raises(ExpoError) as raised:
        dialect.read_json(body)
    (error,) = orjson.loads(raised.value.body())["errors"]
    assert error["message"] == "the body is not JSON: it is not UTF-8"


# --- where a push goes ----------------------------------------------------------------------------------------------


def test_sealed_and_native_tokens_in_all_their_forms() -> None:
    tokens = [ON_IOS, ON_ANDROID, "CD" * 32, "ef" * 32, FID, {"type": "ios", "data": "11" * 32}]
    plan = planned([{"to": token} for token in tokens])
    assert plan.tickets == [None] * 6
    assert [device for *_, device in sorted(plan.devices, key=lambda place: place[0])] == [
        AppDevice("shop", TokenKind.APNS, IOS, "com.example.shop", "sandbox"),
        AppDevice("shop", TokenKind.FCM, ANDROID),
        AppDevice("shop", TokenKind.APNS, "cd" * 32),
        AppDevice("shop", TokenKind.APNS, "ef" * 32),
        AppDevice("shop", TokenKind.FID, FID),
        AppDevice("shop", TokenKind.APNS, "11" * 32),
    ]


def test_the_app_of_native_tokens_is_the_callers_only_one_or_that_of_the_sealed_ones() -> None:
    apps = ("shop", "news")
    assert error_of(planned({"to": ANDROID}, apps=apps, app=None)) == ("DeveloperError", dialect.NO_APP)
    plan = planned([{"to": IOS}, {"to": ON_ANDROID}], apps=apps, app=None)
    assert plan.app == "shop"
    assert {device.app for _, _, device in plan.devices} == {"shop"}
    assert planned({"to": ANDROID}, apps=apps, app="news").devices[0][2].app == "news"


def test_a_token_of_an_app_that_the_caller_may_not_use() -> None:
    plan = planned([{"to": OF_NEWS}, {"to": ON_IOS}])
    assert error_of(plan) == ("DeveloperError", dialect.FOREIGN_APP)
    assert len(plan.devices) == 1


def test_a_request_is_for_one_app() -> None:
    with pytest.raises(ExpoError) as raised:
        planned([{"to": [ON_IOS, OF_NEWS]}, {"to": ON_ANDROID}], apps=("shop", "news"), app=None)
    assert raised.value.code == "PUSH_TOO_MANY_EXPERIENCE_IDS"
    assert raised.value.details == {"shop": [ON_IOS, ON_ANDROID], "news": [OF_NEWS]}


@pytest.mark.parametrize(
    "token", [ISSUED, ISSUED.replace("nent", ""), "f47ac10b-58cc-4372-a567-0e02b2c3d479"]
)
def test_a_token_issued_by_expo_is_forwarded_or_named_and_never_unregistered(token: str) -> None:
    plan = planned([{"to": token, "title": "T"}], forwards=True)
    assert plan.forwards == [(0, 0, token)]
    assert plan.tickets == [None]
    name, message = error_of(planned([{"to": token}]))
    assert (name, message) == ("DeveloperError", dialect.NOT_FORWARDED)
    assert error_of(planned([{"to": token}], app=None, forwards=True))[0] == "DeveloperError"


def test_a_token_that_was_not_sealed_here_is_never_dead() -> None:
    other = SealedTokens(Seal([b"x" * KEY_BYTES]), [("shop", "")]).seal(
        AppDevice("shop", TokenKind.FCM, ANDROID)
    )
    assert error_of(planned({"to": other})) == ("DeveloperError", dialect.NOT_SEALED)


@pytest.mark.parametrize(
    "token", [None, 5, "", "nonsense", [IOS], {"type": "ios"}, {"data": 1}, "\ud800" * 0 + "é"]
)
def test_a_bad_recipient_is_its_own_ticket_and_the_others_are_sent(token: Any) -> None:
    plan = planned([{"to": [token, IOS]}, "no message"])
    assert error_of(plan, 0)[0] == "DeveloperError"
    assert plan.tickets[1] is None
    assert error_of(plan, 2) == ("DeveloperError", "a message must be an object")
    assert len(plan.devices) == 1


def test_a_device_gets_each_message_once_however_it_is_addressed() -> None:
    same = SEALED.seal(AppDevice("shop", TokenKind.APNS, "cd" * 32, "com.example.shop"))
    plan = planned(
        [
            {"to": [IOS, IOS.upper(), ON_IOS], "title": "T"},
            {"to": {"type": "ios", "data": IOS}, "title": "T"},
            {"to": IOS, "title": "another"},
            {"to": same, "title": "T"},
        ]
    )
    # ON_IOS is the only one that knows topic and environment, and so it is the one that is sent.
    assert sorted(number for number, _, _ in plan.devices) == [2, 4, 5]
    assert sorted(plan.copies) == [(0, 2), (1, 2), (3, 2)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["to", "title", "type", "data"]), inner)
        ),
    )
)
def test_any_json_has_a_ticket_per_recipient_or_one_error(document: Any) -> None:
    try:
        request = dialect.read_send(document)
        plan = dialect.plan(request, SEALED, ("shop",), "shop", lambda app: True)
    except ExpoError as error:
        orjson.loads(error.body())
        return
    places = [number for number, *_ in plan.devices] + [number for number, *_ in plan.forwards]
    places += [number for number, _ in plan.copies]
    places += [number for number, ticket in enumerate(plan.tickets) if ticket is not None]
    assert sorted(places) == list(range(len(request.recipients)))


# --- pushes ---------------------------------------------------------------------------------------------------------


def test_a_content_becomes_a_push_for_each_kind_of_device() -> None:
    contents = Contents([{"title": "T", "ttl": 60, "collapseId": "c"}], "notification", NOW)
    first, second = (
        contents.push(0, AppDevice("shop", TokenKind.APNS, token, topic))
        for token, topic in ((IOS, ""), ("cd", "t"))
    )
    assert isinstance(first, Notification)
    assert isinstance(second, Notification)
    assert (first.token, first.topic, first.expiration, first.collapse_id) == (IOS, None, NOW + 60, "c")
    assert (second.token, second.topic, second.expiration, second.collapse_id) == ("cd", "t", NOW + 60, "c")
    assert first.payload is second.payload
    for kind, name in ((TokenKind.FCM, "token"), (TokenKind.FID, "fid")):
        message = contents.push(0, AppDevice("shop", kind, "x"))
        assert isinstance(message, Message)
        assert getattr(message, name) == "x"
        assert message.data == {"title": "T"}
        assert message.notification is not None


def test_android_gets_the_form_that_the_app_is_configured_for() -> None:
    message = Contents([{"title": "T"}], "data", NOW).push(0, AppDevice("shop", TokenKind.FCM, ANDROID))
    assert isinstance(message, Message)
    assert message.notification is None


def test_contents_that_are_nested_deeply_are_not_compared() -> None:
    def deep() -> Any:
        return orjson.loads(b"[" * 1020 + b"]" * 1020)

    class TooDeep:
        def __eq__(self, other: object) -> bool:
            raise RecursionError

        __hash__ = None  # type: ignore[assignment]

    assert dialect.equal([deep()[0]], [[]]) is False
    assert dialect.equal(TooDeep(), deep()) is False
    compared = dialect.equal(deep()[0], deep()[0])  # how deep Python compares depends on its version
    plan = planned([{"to": IOS, "data": {"a": deep()[0]}}, {"to": IOS, "data": {"a": deep()[0]}}])
    assert len(plan.devices) == (1 if compared else 2)


@pytest.mark.parametrize(
    "wrong", [{"badge": "x"}, {"priority": "urgent"}, {"title": 1}, {"sound": []}, "no message"]
)
def test_a_message_that_no_platform_takes_is_an_error_for_each_recipient(wrong: Any) -> None:
    contents = Contents([wrong, {"title": "T"}], "notification", NOW)
    for kind in (TokenKind.APNS, TokenKind.FCM):
        with pytest.raises(ValueError, match=r"must be|one of|object"):
            contents.push(0, AppDevice("shop", kind, IOS))
        assert contents.push(1, AppDevice("shop", kind, IOS))


# --- receipts -------------------------------------------------------------------------------------------------------


def test_receipts_are_ok_unknown_or_of_another_caller() -> None:
    mine, others = (RECEIPTS.new(1, "shop", caller, NOW, os.urandom)[0] for caller in ("me", "you"))
    foreign = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
    ids = dialect.read_receipt_ids({"ids": ["", mine, 5, None, [], foreign, others, mine, "x" * 500]})
    assert ids == [mine, foreign, others]
    known, rest = dialect.receipts(ids, RECEIPTS, "me", ("shop",), NOW + 60)
    assert known == {mine: {"status": "ok"}}
    assert rest == [foreign]
    assert dialect.receipts([mine], RECEIPTS, "me", ("shop",), NOW + 86_500) == ({}, [])


@pytest.mark.parametrize("document", [None, [], {}, {"ids": "x"}, {"ids": {}}])
def test_a_body_without_ids(document: Any) -> None:
    with pytest.raises(ExpoError) as raised:
        dialect.read_receipt_ids(document)
    assert raised.value.code == "VALIDATION_ERROR"


def test_too_many_ids() -> None:
    ids = [str(number) for number in range(1001)]
    assert len(dialect.read_receipt_ids({"ids": ids[:1000]})) == 1000
    with pytest.raises(ExpoError) as raised:
        dialect.read_receipt_ids({"ids": ids})
    assert raised.value.code == "PUSH_TOO_MANY_RECEIPTS"


def test_every_receipt_of_a_request_is_another_one() -> None:
    made = RECEIPTS.new(100, "shop", "me", NOW, os.urandom)
    known, _ = dialect.receipts(made, RECEIPTS, "me", ("shop",), NOW)
    assert len(known) == 100
