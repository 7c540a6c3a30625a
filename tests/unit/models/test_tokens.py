"""Whose token is it: every shape of the reference, the objects of getDevicePushTokenAsync, and garbage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.models.tokens import EXPO_ADVICE, MAX_TOKEN, TokenKind, recognise

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
REST = "APA91b" + "xY_-0" * 27
APNS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        (APNS, "apns"),
        (APNS.upper(), "apns"),
        (APNS + "ab" * 20, "apns"),
        (f"{FID}:{REST}", "fcm"),
        (f"f8mNlJq4VOY:{REST}", "fcm"),
        (f"f8mNlJq4VOY:{'x' * 64}", "fcm"),
        (REST, "fcm"),
        (FID, "fid"),
        ("c" + "-_" * 10 + "9", "fid"),
        ("ExponentPushToken[xxxxxxxxxxxxxxxxxxxxxx]", "expo"),
        ("ExpoPushToken[abc]", "expo"),
        ("EABEAE54-14a8-11e5-b60b-1697f925ec7b", "expo"),
    ],
)
def test_shapes(token: str, kind: str) -> None:
    for source in (token, f"  {token}\n"):
        recognised = recognise(source)
        assert (recognised.kind.value, recognised.token) == (kind, token)
        assert recognised.usable is (kind != "expo")
        assert recognised.platform == {"apns": "apns", "fcm": "fcm", "fid": "fcm", "expo": None}[kind]
        assert recognised.reason == ("" if recognised.usable else EXPO_ADVICE)


def test_expo_tokens_have_their_advice() -> None:
    assert "getDevicePushTokenAsync" in recognise("ExponentPushToken[x]").reason
    assert recognise({"type": "android", "data": "ExponentPushToken[x]"}).kind is TokenKind.EXPO


@pytest.mark.parametrize(
    ("source", "kind", "words"),
    [
        ({"type": "ios", "data": APNS}, "apns", ""),
        ({"type": "ios", "data": "abcd"}, "apns", ""),
        ({"type": "android", "data": f"{FID}:{REST}"}, "fcm", ""),
        ({"type": "android", "data": FID}, "fid", ""),
        ({"type": "android", "data": "of-a-new-shape"}, "fcm", ""),
        ({"data": APNS}, "apns", ""),
        (f'{{"type": "ios", "data": "{APNS}"}}', "apns", ""),
        ({"type": "ios", "data": f"{FID}:{REST}"}, "unknown", "a registration token of FCM"),
        ({"type": "android", "data": APNS}, "unknown", "APNs"),
        ({"type": "android", "data": "a b"}, "unknown", "white space"),
        ({"type": "windows", "data": APNS}, "unknown", "windows"),
        ({"type": "web", "data": {"endpoint": "https://e.com"}}, "unknown", "Web Push"),
        ({"type": "ios"}, "unknown", "data"),
        ({}, "unknown", "data"),
        ({"type": "ios", "data": None}, "unknown", "text"),
        ("{broken", "unknown", "JSON"),
        ("{" + "x" * 3 * MAX_TOKEN, "unknown", "longer"),
        ("", "unknown", "empty"),
        (" \n", "unknown", "empty"),
        ("abcd", "unknown", "neither"),
        (APNS[:-1], "unknown", "neither"),
        ("x" * 22, "unknown", "neither"),
        ("https://example.com", "unknown", "a URL"),
        ("<01234567 89abcdef>", "unknown", "the description of an NSData object"),
        ("ä" * 64, "unknown", "ASCII"),
        ("a" * (MAX_TOKEN + 1), "unknown", "longer"),
        (None, "unknown", "None"),
        (7, "unknown", "int"),
        (b"ab", "unknown", "bytes"),
        ([APNS], "unknown", "list"),
    ],
)
def test_objects_and_garbage(source: Any, kind: str, words: str) -> None:
    recognised = recognise(source)
    assert recognised.kind.value == kind
    assert words in recognised.reason
    assert recognised.usable is not bool(recognised.reason)


@given(
    st.text(max_size=80)
    | st.from_regex(r"Expo(nent)?PushToken\[.*|\{.*", fullmatch=True)
    | st.dictionaries(
        st.sampled_from(["type", "data"]),
        st.none() | st.sampled_from(["ios", "android"]) | st.text() | st.integers(),
    )
    | st.binary()
    | st.floats()
)
def test_nothing_raises(source: Any) -> None:
    recognised = recognise(source)
    assert recognised.usable is not bool(recognised.reason)
    assert len(recognised.token) <= MAX_TOKEN
