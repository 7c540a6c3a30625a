"""What is given in the place of a token is told by its form; what may be a token of some kind is not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.models.token_forms import (
    is_base64,
    may_be_registration,
    mistaken_form,
    mistaken_registration,
)
from pushcore.models.tokens import TokenKind, recognise, unlike_apns, unlike_fcm

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "xY_-0" * 27
APNS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "token", [APNS, APNS.upper(), FCM, FID, "odd", "of-a-new-shape", "a.b:c~d", "ya29.x"]
)
def test_a_possible_token_is_accepted(token: str) -> None:
    assert mistaken_form(token) == ""


@pytest.mark.parametrize("character", [chr(code) for code in (*range(33), 127, 0xA0, 0x200B, 0xE9, 0xFEFF)])
def test_characters_that_no_token_has(character: str) -> None:
    for token in (APNS, FCM, FID):
        for text in (character + token, token + character, token[:9] + character + token[9:]):
            assert mistaken_form(text)
            assert unlike_fcm(text)
            assert unlike_apns(text)
            assert recognise({"type": "android", "data": f"a{text}b"}).kind is TokenKind.UNKNOWN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"Optional({APNS})", "has '(' before it"),
        (f"/3/device/{APNS}", "has '/' before it"),
        (f"apns-{APNS}", "has '-' before it"),
        (f"{APNS}#1", "has '#' after it"),
        (f"{APNS}/{APNS}", "is more than one token"),
        (APNS[:-1], "has an odd number of hexadecimal digits: one is missing"),
        ("abc@example.com", "has '@' in it"),
        ("ExponentPushToken(xxx)", "begins like a token of Expo's, and its brackets are missing"),
    ],
)
def test_every_text_that_is_no_device_token_is_told(text: str, words: str) -> None:
    assert unlike_apns(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"Optional({APNS})", "has '(' before it"),
        (f"{APNS}#1", "has '#' after it"),
        (f"({FCM})", "has '(' before it"),
        (f"projects/p/registrations/{FCM}", "has '/' before it"),
        (f"{FCM}!", "has '!' after it"),
        (f"{FCM}&{FCM}", "is more than one token"),
    ],
)
def test_what_stands_around_a_token_is_told_with_its_platform_and_without(text: str, words: str) -> None:
    assert recognise(text).reason == f"the token {words}"
    assert words in recognise({"type": "ios" if APNS in text else "android", "data": text}).reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"fid:{FID}", "has the name of a platform or a field in front of it: leave that out"),
        (f"None:APA91b{'x' * 130}", "has the name of a platform or a field in front of it: leave that out"),
        (f":APA91b{'x' * 130}", "begins with a colon: the part before it is missing"),
    ],
)
def test_a_registration_token_that_a_program_has_put_together_wrongly(text: str, words: str) -> None:
    assert unlike_fcm(text) == words
    assert recognise(text).reason == f"the token {words}"


@pytest.mark.parametrize("text", ["1.23457E+63", "1,23457E+063", "4E+7", "12e+5"])
def test_a_number_that_a_spreadsheet_has_made_of_a_token(text: str) -> None:
    for told in (unlike_fcm(text), unlike_apns(text), recognise(text).reason):
        assert "is a number in scientific notation: a spreadsheet has changed it" in told


@pytest.mark.parametrize("text", ["token", "Token", "device_token", "registration-token", "tokens"])
def test_the_name_of_the_column_in_the_place_of_a_token(text: str) -> None:
    for told in (unlike_fcm(text), unlike_apns(text), recognise(text).reason):
        assert "is the name of a column, as in a second header row" in told


@pytest.mark.parametrize(
    "text", ["N/A", "#N/A", "na", "n/a", "-", "--", "0", "unknown", "(deleted)", "(null)", "None", "<nil>"]
)
def test_a_word_in_the_place_of_a_missing_token(text: str) -> None:
    for told in (unlike_fcm(text), unlike_apns(text)):
        assert told


def test_base64() -> None:
    for size, fits in ((16, False), (31, False), (32, True), (80, True)):
        content = bytes(range(250, 250 - size, -1))
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            assert is_base64(encode(content).decode()) is fits
            assert is_base64(encode(content).decode().rstrip("=")) is fits
    assert not is_base64("a" * 45)
    assert not is_base64(FCM)


@given(st.text(max_size=60))
def test_nothing_raises_and_every_bad_character_is_found(text: str) -> None:
    form = mistaken_form(text)
    assert form or text.isascii()
    for tell in (unlike_fcm, unlike_apns):
        assert isinstance(tell(text), str)


BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(
    st.text("cdef", min_size=1, max_size=1),
    st.text(BASE64URL, min_size=10, max_size=63),
    st.sampled_from(["APA91b", ""]),
    st.text(BASE64URL, min_size=64, max_size=300),
)
def test_no_registration_token_is_refused(first: str, iid: str, mark: str, rest: str) -> None:
    token = f"{first}{iid}:{mark}{rest}"
    assert may_be_registration(token)
    assert (mistaken_registration(token), unlike_fcm(token)) == ("", "")


@pytest.mark.parametrize(
    "token", ["odd", "of-a-new-shape", "a.b:c~d", "AbC+/9==", FID, "APA91b" + "x" * 134, f"v2:{'x' * 80}:y"]
)
def test_shapes_that_google_may_begin_to_use_pass(token: str) -> None:
    assert (mistaken_registration(token), unlike_fcm(token)) == ("", "")


@pytest.mark.parametrize(
    "text", ["a" * 4096, "ab " * 1300, "{" * 4096, "%" * 4096, "token" * 800, "<" * 4096, "_" * 4096]
)
def test_long_texts_are_told_at_once(text: str) -> None:
    mistaken_form(text)
    unlike_apns(text)


PREFIXES = ("ios", "apns", "APNS", "Apple", "android", "Android", "fcm", "gcm", "firebase", "push", "device")
FIELDS = (
    "token",
    "deviceToken",
    "device_token",
    "registration_token",
    "registration-token",
    "push token",
    "id",
)


@pytest.mark.parametrize("prefix", [*PREFIXES, *FIELDS])
@pytest.mark.parametrize("sign", [":", ": ", "=", " = ", "|", "::"])
def test_a_name_in_front_of_a_token_is_named(prefix: str, sign: str) -> None:
    for token in (APNS, FCM, FID):
        text = f"{prefix}{sign}{token}"
        for told in (unlike_fcm(text), unlike_apns(text)):
            assert "in front of it" in told
        assert recognise(text).kind is TokenKind.UNKNOWN
        assert "in front of it" in recognise(text).reason


@pytest.mark.parametrize(
    "before", ["Bearer ", "bearer:", "Basic ", "Authorization: Bearer ", "authorization=", "key=", "key "]
)
def test_the_beginning_of_a_header_in_front_of_a_token_is_named(before: str) -> None:
    for token in (APNS, FCM):
        for told in (unlike_fcm(before + token), unlike_apns(before + token)):
            assert told == "begins like an Authorization header: leave that out"


@pytest.mark.parametrize("quote", ['"{}"', "'{}'", "`{}`", "“{}”", "«{}»", '\\"{}\\"', '["{}"]'])
def test_quoted_and_percent_encoded_tokens_are_named(quote: str) -> None:
    for token in (APNS, FCM):
        text = quote.format(token)
        assert unlike_fcm(text)
        assert unlike_apns(text)
    assert unlike_fcm(FCM.replace(":", "%3A")) == "is percent-encoded, as in a URL"
