"""Sealed tokens and receipts: one spelling, one device, and nothing that was not sealed here."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.audience.problems import BadInput
from pushcore.errors import ConfigurationError
from pushcore.gateway.config import AppSection, FcmSection, GatewayConfig, SealingSection
from pushcore.gateway.expo import sealed
from pushcore.gateway.expo.sealed import AppDevice, Receipts, Seal, SealedTokens, Sealing
from pushcore.models.tokens import TokenKind

APP = "com.example.app"
FCM_TOKEN = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134
KEYS = [bytes([number]) * sealed.KEY_BYTES for number in range(3)]
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
APPS = [(APP, ""), (APP, APP), (APP, f"{APP}.dev"), ("two", ""), ("two", APP)]
TOKENS = SealedTokens(Seal(KEYS[:1]), APPS)
RECEIPTS = Receipts(Seal(KEYS[:1]))
KEY_TEXT = sealed.new_key(lambda size: bytes(range(size)))
NOW = 1_800_000_000.7

base64url = st.text(ALPHABET, min_size=1, max_size=200)
natives = (
    st.binary(min_size=1, max_size=100).map(bytes.hex)
    | base64url
    | st.builds("{}:{}".format, base64url, base64url)
    | st.text(st.characters(codec="ascii"), min_size=1, max_size=sealed.MAX_NATIVE)
)
apps = st.sampled_from([APP, "two"])
devices = st.builds(
    AppDevice,
    apps,
    st.just(TokenKind.APNS),
    natives,
    st.just(APP),
    st.sampled_from(["production", "sandbox"]),
) | st.builds(
    AppDevice, apps, st.sampled_from([TokenKind.FCM, TokenKind.FID]), natives, st.just(""), st.none()
)


def counted() -> Callable[[int], bytes]:
    numbers = itertools.count()
    return lambda size: next(numbers).to_bytes(size, "big")


def receipts(count: int, app: str = APP, caller: str = "shop", now: float = NOW) -> list[str]:
    return RECEIPTS.new(count, app, caller, now, os.urandom)


def changed(text: str, at: int, bit: int) -> str:
    """A text whose character is another one of base64url: one bit of what it stands for is flipped."""
    return text[:at] + ALPHABET[ALPHABET.index(text[at]) ^ (1 << bit)] + text[at + 1 :]


@given(devices)
def test_a_sealed_token_is_opened_to_what_was_sealed(device: AppDevice) -> None:
    token = TOKENS.seal(device)
    assert TOKENS.open(token) == device
    assert TOKENS.seal(device) == token, "an app asks at each start"


@given(devices, st.data())
def test_a_token_with_a_flipped_bit_is_refused(device: AppDevice, data: st.DataObject) -> None:
    token = TOKENS.seal(device)
    at = data.draw(st.integers(len(sealed.PREFIX), len(token) - 2))
    assert TOKENS.open(changed(token, at, data.draw(st.integers(0, 5)))) is None


def test_every_bit_counts() -> None:
    token = TOKENS.seal(AppDevice(APP, TokenKind.APNS, "ab" * 32, APP, "sandbox"))
    for at in range(len(sealed.PREFIX), len(token) - 1):
        for bit in range(6):
            assert TOKENS.open(changed(token, at, bit)) is None, (at, bit)
    (receipt,) = receipts(1)
    for at in range(len(receipt)):
        for bit in range(6):
            assert not RECEIPTS.ok(changed(receipt, at, bit), "shop", [APP], NOW), (at, bit)


@given(st.text(max_size=300) | st.text(ALPHABET + "+/=\n ", max_size=300))
def test_rubbish_is_refused(text: str) -> None:
    assert TOKENS.open(text) is None
    assert TOKENS.open(f"{sealed.PREFIX}{text}{sealed.SUFFIX}") is None
    assert not RECEIPTS.ok(text, "shop", [APP], NOW)


@pytest.mark.parametrize(
    "spell",
    [
        lambda token: token.replace("ExponentPushToken", "ExpoPushToken"),
        lambda token: token[:-1] + "=]",
        lambda token: token[:-1] + "\n]",
        lambda token: token + "]",
        lambda token: " " + token,
        lambda token: token.translate(str.maketrans("-_", "+/")),
        lambda token: token[:40] + "\u00e9" + token[41:],
    ],
)
def test_a_token_has_one_spelling(spell: Callable[[str], str]) -> None:
    for number in range(20):
        token = TOKENS.seal(AppDevice(APP, TokenKind.FCM, f"{number}{FCM_TOKEN}"))
        other = spell(token)
        assert other == token or TOKENS.open(other) is None


def test_a_token_of_fcm_fits_255_characters_whatever_the_app_is_called() -> None:
    assert len(FCM_TOKEN) == 163
    long = "com.example." + "app" * 100
    tokens = SealedTokens(Seal(KEYS[:1]), [(long, "")])
    token = tokens.seal(AppDevice(long, TokenKind.FCM, FCM_TOKEN))
    assert len(token) == 223
    assert FCM_TOKEN not in token
    assert tokens.open(token) == AppDevice(long, TokenKind.FCM, FCM_TOKEN)
    assert len(TOKENS.seal(AppDevice(APP, TokenKind.APNS, "ab" * 32, APP, "production"))) == 103


def test_an_app_of_several_topics_keeps_each_devices() -> None:
    first, second = (
        AppDevice(APP, TokenKind.APNS, "ab" * 32, topic, "production") for topic in (APP, f"{APP}.dev")
    )
    assert TOKENS.open(TOKENS.seal(first)) == first
    assert TOKENS.open(TOKENS.seal(second)) == second


def test_old_keys_open_and_the_first_one_seals() -> None:
    device = AppDevice(APP, TokenKind.APNS, "ab" * 32, APP, "production")
    old, new = (SealedTokens(Seal(keys), APPS) for keys in (KEYS[:1], KEYS[1::-1]))
    assert new.open(old.seal(device)) == device
    assert new.seal(device) != old.seal(device)
    assert old.open(new.seal(device)) is None, "a key that it does not have"
    assert SealedTokens(Seal(KEYS[1:2]), APPS).seal(device) == new.seal(device)


def test_a_token_of_an_app_that_is_no_longer_there_is_refused() -> None:
    token = TOKENS.seal(AppDevice("two", TokenKind.APNS, "ab", APP, "production"))
    assert SealedTokens(Seal(KEYS[:1]), APPS[:3]).open(token) is None


@pytest.mark.parametrize("native", ["", "x" * (sealed.MAX_NATIVE + 1), "\u00e9"])
def test_a_malformed_token_is_not_sealed(native: str) -> None:
    with pytest.raises(ValueError, match="512 ASCII characters"):
        TOKENS.seal(AppDevice(APP, TokenKind.FCM, native))


@pytest.mark.parametrize("keys", [[], [KEYS[0], KEYS[0]], [b"short"], ["x" * sealed.KEY_BYTES]])
def test_keys_that_cannot_be(keys: list[bytes]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Seal(keys)
    assert "xxx" not in str(raised.value)


def test_a_key_is_read_as_it_was_written() -> None:
    assert sealed.read_key(sealed.new_key(lambda size: bytes(range(size)))) == bytes(range(64))
    secret = sealed.new_key(os.urandom)
    for text in (secret[:-1], secret + "=", "+" + secret[1:]):
        with pytest.raises(ConfigurationError, match="86 characters") as raised:
            sealed.read_key(text, "[seal] tokens[0]")
        assert secret[5:20] not in str(raised.value)


def test_receipts_differ_are_short_and_are_known_for_a_day_to_their_caller_alone() -> None:
    ids = receipts(100) + receipts(100)
    assert len(set(ids)) == 200
    assert {len(receipt) for receipt in ids} == {68}
    for receipt in ids[::50]:
        assert RECEIPTS.ok(receipt, "shop", [APP, "two"], NOW)
        assert RECEIPTS.ok(receipt, "shop", [APP], NOW + sealed.RECEIPT_LIFE - 1)
        assert not RECEIPTS.ok(receipt, "shop", [APP], NOW + sealed.RECEIPT_LIFE + 2)
        assert not RECEIPTS.ok(receipt, "another", [APP], NOW)
        assert not RECEIPTS.ok(receipt, "shop", ["two"], NOW)
        assert not Receipts(Seal(KEYS[1:])).ok(receipt, "shop", [APP], NOW)
        assert Receipts(Seal(KEYS[::-1])).ok(receipt, "shop", [APP], NOW)


def test_a_number_that_no_push_of_the_request_had_is_no_receipt() -> None:
    ids = receipts(17)
    sealed_text = ids[0][:-4]
    assert [one[:-4] for one in ids] == [sealed_text] * 17
    for number in (
        "0011",
        "ffff",
        "001",
        "00000",
        "+001",
        "0 01",
        "000A",
        "-001",
        "0x01",
        "",
        "\u0660\u0660\u0660\u0660",
    ):
        assert not RECEIPTS.ok(sealed_text + number, "shop", [APP], NOW), number
        assert not RECEIPTS.made(sealed_text + number), number
    assert all(RECEIPTS.ok(one, "shop", [APP], NOW) and RECEIPTS.made(one) for one in ids)
    assert receipts(0) == []


def test_the_same_time_and_randomness_give_the_same_receipts() -> None:
    first, second = (RECEIPTS.new(3, APP, "shop", NOW, counted()) for _ in range(2))
    assert first == second


def test_neither_is_taken_for_the_other_under_one_key() -> None:
    token = TOKENS.seal(AppDevice(APP, TokenKind.APNS, "ab" * 32, APP, "production"))
    assert not RECEIPTS.ok(token[18:-1], "shop", [APP], NOW)
    assert TOKENS.open(f"ExponentPushToken[{receipts(1)[0]}]") is None


def test_no_key_is_shown() -> None:
    assert repr(Seal(KEYS)) == "<Seal of 3 keys>"


def sealing(tmp_path: Path, **keys: str) -> Sealing:
    """Of files with these contents."""
    for name, content in keys.items():
        (tmp_path / name).write_text(content)
    names = {name: str(tmp_path / name) for name in keys}
    app = AppSection(id="shop", fcm=FcmSection(service_account="x"))
    return Sealing.of(GatewayConfig(app=(app,), sealing=SealingSection(**names)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        (f"{KEY_TEXT}\nsecret-but-wrong\n", "token_keys:2 must be 64 random bytes"),
        ("\u00e9" * 86, "token_keys:1 must be"),
        (f"{KEY_TEXT}\n{KEY_TEXT}", "twice"),
    ],
)
def test_a_file_that_has_no_keys(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises((BadInput, ConfigurationError), match=words) as raised:
        sealing(tmp_path, token_keys=content)
    assert "secret-but-wrong" not in str(raised.value)


def test_tokens_and_receipts_have_no_key_in_common(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"contain the same key"):
        sealing(
            tmp_path, token_keys=f"\n{KEY_TEXT}\n\n", receipt_keys=f"{sealed.new_key(os.urandom)}\n{KEY_TEXT}"
        )


def test_without_files_no_tokens_are_sealed_and_receipts_have_a_key_of_the_process(tmp_path: Path) -> None:
    config = GatewayConfig(app=(AppSection(id="shop", fcm=FcmSection(service_account="x")),))
    first = Sealing.of(config)
    assert first.tokens is None
    (receipt,) = first.receipts.new(1, "shop", "me", NOW, os.urandom)
    assert Sealing.of(config, first).receipts.ok(receipt, "me", ["shop"], NOW)
    assert not Sealing.of(config).receipts.ok(receipt, "me", ["shop"], NOW)
    given = sealing(tmp_path, token_keys=KEY_TEXT, receipt_keys=sealed.new_key(os.urandom))
    assert given.tokens is not None
    assert not given.receipts.ok(receipt, "me", ["shop"], NOW)
