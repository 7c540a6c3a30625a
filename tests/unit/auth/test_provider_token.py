"""Provider tokens under simulated clocks, against a judge who knows Apple's two rules and nothing of our slots."""

from __future__ import annotations

import base64
import math
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from fakeservers.certs import Certificates
from pushcore.auth.provider_token import LOOK_AGAIN, ApnsKey, ProviderToken, TokenLease
from pushcore.errors import ConfigurationError

KEY_ID, TEAM_ID = "ABC123DEFG", "TEAM123456"
START = 1_800_000_000.0
MINUTE, HOUR = 60.0, 3600.0

PRIVATE = ec.derive_private_key(12345, ec.SECP256R1())


def pem(key: object = PRIVATE, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    made: bytes = key.private_bytes(  # type: ignore[attr-defined]  # of the kind of key that the test was given
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    return made


def make_key(key_id: str = KEY_ID, slot: int = 1800, margin: int = 120) -> ApnsKey:
    return ApnsKey(PRIVATE, key_id=key_id, team_id=TEAM_ID, slot=slot, margin=margin)


def send(lease: TokenLease, now: float) -> ProviderToken:
    """What a connection does before each request; returns the token that goes out."""
    if not lease.since <= now < lease.due:
        lease.renew(now)
    assert lease.token is not None
    return lease.token


class Judge:
    """Apple, for one connection: a token lives an hour, and may be replaced after 20 minutes."""

    def __init__(self) -> None:
        self.value = b""
        self.first_use = -math.inf
        self.oldest = 0.0
        self.changes = 0

    def accept(self, token: ProviderToken, now: float) -> None:
        age = now - token.iat
        assert 0 <= age <= HOUR, f"the token is {age} s old"
        self.oldest = max(self.oldest, age)
        if token.value != self.value:
            assert now - self.first_use >= 20 * MINUTE, "TooManyProviderTokenUpdates"
            self.value, self.first_use = token.value, now
            self.changes += 1


# --- one key


def test_a_token_is_what_apple_asks_for() -> None:
    token = make_key().token(START)
    scheme, _, jwt = token.value.partition(b" ")
    head, claims, signature = (base64.urlsafe_b64decode(part + b"==") for part in jwt.split(b"."))
    assert scheme == b"bearer"
    assert head == b'{"alg":"ES256","kid":"ABC123DEFG"}'
    assert claims == b'{"iss":"TEAM123456","iat":%d}' % token.iat
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    PRIVATE.public_key().verify(der, jwt.rpartition(b".")[0], ec.ECDSA(hashes.SHA256()))


@given(st.floats(0, 4e9), st.sampled_from([KEY_ID, "0000000000", "ZZZZZZZZZZ"]))
def test_iat_is_the_start_of_the_slot_that_now_less_the_margin_lies_in(now: float, key_id: str) -> None:
    token = make_key(key_id).token(now)
    assert token.iat <= now - 120 < token.iat + 1800
    assert token.until == token.iat + 1800 + 120
    assert now < token.until


def test_the_next_slot_begins_exactly_at_until() -> None:
    key = make_key()
    token = key.token(START)
    assert key.token(math.nextafter(token.until, 0)) is token
    following = key.token(token.until)
    assert following.iat == token.iat + 1800
    assert following.value != token.value


def test_one_signature_for_each_slot() -> None:
    key = make_key()
    for second in range(0, 24 * 3600, 7):
        key.token(START + second)
    assert key.signatures in (48, 49)


def test_keys_do_not_all_change_at_once() -> None:
    starts = {make_key(f"KEY{number:07}").token(START).iat % 1800 for number in range(50)}
    assert len(starts) > 40


@pytest.mark.slow
def test_two_processes_mint_the_same_bytes(tmp_path: Path) -> None:
    file = tmp_path / "AuthKey.p8"
    file.write_bytes(pem())
    program = (
        "import sys; from pushcore.auth.provider_token import ApnsKey;"
        f"key = ApnsKey.from_file(sys.argv[1], key_id={KEY_ID!r}, team_id={TEAM_ID!r});"
        "print(key.token(float(sys.argv[2])).value.decode())"
    )

    def start(now: float, seed: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", program, str(file), repr(now)]
        root = str(Path(__file__).parents[3])
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": root}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)

    token = make_key().token(START)
    early, late = token.iat + 120.0, token.until - 1
    minted = []
    for process in (start(early, "1"), start(late, "2")):
        with process:
            minted.append(process.communicate()[0].strip())
    assert minted == [token.value, token.value]


# --- a key whose clock steps


def test_a_key_keeps_its_token_while_that_is_in_the_past() -> None:
    key = make_key()
    edge = key.token(START).until
    newest = key.token(edge)
    for step in (0.5, 2, 60, 120):
        assert key.token(edge - step) is newest
    assert key.signatures == 2


@pytest.mark.parametrize("step", [120.5, 31 * MINUTE, 5 * HOUR, 10 * 24 * HOUR])
def test_a_clock_that_was_fast_and_is_set_right_gets_a_token_at_once(step: float) -> None:
    key = make_key()
    edge = key.token(START).until
    wrong = key.token(edge)
    right = key.token(edge - step)
    assert right.iat < wrong.iat
    assert right.iat <= edge - step - 120 < right.iat + 1800
    assert key.token(edge - step + 10) is right


def test_after_a_refusal_a_token_is_as_young_as_may_be_once_in_a_slot() -> None:
    key = make_key()
    slots = key.token(START)
    refused_at = slots.until - 100
    young = key.renew(refused_at)
    assert young.iat == math.floor(refused_at - 120) > slots.iat
    assert young.until == slots.until
    assert key.token(refused_at + 1) is young
    assert key.renew(refused_at + 1) is young  # there is nothing better
    following = key.token(slots.until)
    assert following.iat == slots.iat + 1800 > young.iat
    assert key.signatures == 3


def test_after_a_refusal_at_the_start_of_a_slot_there_is_nothing_younger() -> None:
    key = make_key()
    newest = key.token(key.token(START).until)
    assert key.renew(float(newest.iat + 120)) is newest


def test_a_young_token_of_the_future_is_given_up_too() -> None:
    key = make_key()
    young = key.renew(key.token(START + 5 * HOUR).until - 100)
    assert key.token(START).iat <= START - 120 < young.iat


# --- a lease


def test_a_lease_announces_only_changes() -> None:
    key = make_key()
    lease = TokenLease(key)
    assert lease.due == -math.inf
    first = key.token(START)
    assert lease.renew(START) == first.value
    assert lease.token is first
    assert START < lease.due <= START + LOOK_AGAIN
    assert lease.renew(START + 1) is None


def test_a_lease_keeps_its_token_for_twenty_minutes_after_first_use() -> None:
    key = make_key()
    lease = TokenLease(key)
    edge = key.token(START).until
    first = send(lease, edge - 1)
    key.token(edge)
    assert send(lease, edge + 1) is first
    assert send(lease, math.nextafter(edge - 1 + 1200, 0)) is first
    assert lease.due == edge - 1 + 1200
    assert send(lease, lease.due) is not first


def test_a_lease_changes_with_the_slot_when_its_token_is_in_long_use() -> None:
    key = make_key()
    lease = TokenLease(key)
    edge = key.token(START).until
    first = send(lease, edge - 1700)
    assert send(lease, math.nextafter(edge, 0)) is first
    assert send(lease, edge).iat == first.iat + 1800


def test_an_idle_lease_wakes_with_the_token_of_the_day() -> None:
    key = make_key()
    lease = TokenLease(key)
    send(lease, START)
    assert send(lease, START + 7 * HOUR) is key.token(START + 7 * HOUR)


@pytest.mark.parametrize("skew", [-2 * MINUTE, -1, 0, 1, 2 * MINUTE])
def test_a_day_of_many_connections_breaks_none_of_apples_rules(skew: float) -> None:
    """Connections begin at random times and send at random times; `skew` is how far Apple's clock is ahead."""
    rng = random.Random(f"leases {skew}")
    key = make_key()
    connections = [(START + rng.uniform(0, 20 * HOUR), TokenLease(key), Judge()) for _ in range(60)]
    eagerness = [rng.choice((0.002, 0.1, 1.0)) for _ in connections]
    now = START
    while now < START + 24 * HOUR:
        now += rng.uniform(1, 30)
        for (begin, lease, judge), eager in zip(connections, eagerness, strict=True):
            if now >= begin and rng.random() < eager:
                judge.accept(send(lease, now), now + skew)
    assert max(judge.oldest for _, _, judge in connections) <= 52 * MINUTE + skew
    assert max(judge.changes for _, _, judge in connections) > 8
    assert 40 < key.signatures <= 49  # a slot in which nobody sent needs none


def test_the_oldest_token_is_just_short_of_52_minutes() -> None:
    key = make_key()
    lease, judge = TokenLease(key), Judge()
    begin = math.nextafter(key.token(START).until, 0)
    now = begin
    while now < begin + 2 * HOUR:
        judge.accept(send(lease, now), now)
        now += 0.5
    assert 52 * MINUTE - 1 < judge.oldest <= 52 * MINUTE


@pytest.mark.parametrize("step", [90.0, 31 * MINUTE, 3 * HOUR, 10 * 24 * HOUR])
@pytest.mark.parametrize("seed", range(5))
def test_no_future_token_is_used_once_a_fast_clock_was_set_right(step: float, seed: int) -> None:
    """It is corrected in mid-campaign: connections whose token is of the future are left, and Apple's 20 minutes hold."""
    rng = random.Random(seed)
    key = make_key()
    leases = [TokenLease(key) for _ in range(20)]
    first_use: dict[TokenLease, tuple[bytes, float]] = {}
    corrected = START + rng.uniform(1, 2) * HOUR
    left = 0
    now = START
    while now < corrected + 4 * HOUR:
        now += rng.uniform(1, 20)
        ours = now + step if now < corrected else now
        for index, lease in enumerate(leases):
            if rng.random() < 0.5:
                token = send(lease, ours)
                if lease.must_drain:
                    left += 1
                    lease = leases[index] = TokenLease(key)
                    token = send(lease, ours)
                    assert not lease.must_drain
                value, since = first_use.get(lease, (b"", -math.inf))
                if token.value != value:
                    assert now - since >= 20 * MINUTE
                    first_use[lease] = token.value, now
                if now >= corrected:
                    assert 0 <= now - token.iat <= 52 * MINUTE + LOOK_AGAIN
    if step != 31 * MINUTE:  # which leaves a token of the future in most of the runs only
        assert left == (0 if step == 90 else len(leases))


def test_a_lease_of_a_refused_token_is_over_as_soon_as_there_is_another() -> None:
    key = make_key()
    lease = TokenLease(key)
    edge = key.token(START).until
    token = send(lease, edge - 300)
    assert lease.first is token
    lease.rejected = True
    assert send(lease, edge - 200) is token
    assert not lease.must_drain
    send(lease, edge)
    assert lease.must_drain
    assert lease.token is token  # nothing else goes out here


def test_the_20_minutes_of_a_lease_end_on_time_when_the_clock_steps_back() -> None:
    key = make_key()
    lease = TokenLease(key)
    edge = key.token(START).until
    old = send(lease, edge - 60)
    stepped = (
        edge - 15 * MINUTE
    )  # and 14 minutes until `edge` by this clock, when the 20 minutes are not over
    for second in range(0, 1140 - 60, 10):
        assert send(lease, stepped + second) is old
    assert send(lease, stepped + 1200 + LOOK_AGAIN).iat == old.iat + 1800


# --- reading keys


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    certificates = Certificates.create(tmp_path)
    key = ApnsKey.from_file(certificates.key_file, key_id=KEY_ID, team_id=TEAM_ID)
    jwt = key.token(START).value.removeprefix(b"bearer ")
    assert orjson.loads(base64.urlsafe_b64decode(jwt.split(b".")[1] + b"=="))["iss"] == TEAM_ID


def test_crlf_and_a_byte_order_mark_do_no_harm() -> None:
    content = b"\xef\xbb\xbf" + pem().replace(b"\n", b"\r\n")
    assert ApnsKey.from_pem(content, key_id=KEY_ID, team_id=TEAM_ID).token(START)


@cache
def other_keys() -> dict[str, tuple[bytes, str]]:
    public = PRIVATE.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    cut = pem()[:60] + b"\n-----END PRIVATE KEY-----\n"
    return {
        "empty": (b" \n", "is empty"),
        "text": (b"hello", "is not PEM"),
        "der": (b"\x30\x82\x01\x00", "is not PEM"),
        "rsa": (pem(rsa.generate_private_key(65537, 2048)), "of another kind (RSA)"),
        "ed25519": (pem(ed25519.Ed25519PrivateKey.generate()), "of another kind (Ed25519)"),
        "curve": (pem(ec.generate_private_key(ec.SECP384R1())), "on the curve secp384r1"),
        "encrypted": (pem(passphrase=b"geheim"), "is encrypted"),
        "public": (public, "holds a public key and no private key"),
        "certificate": (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "holds a certificate",
        ),
        "something": (b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "holds something else"),
        "damaged": (cut, "is damaged"),
    }


@pytest.mark.parametrize("case", list(other_keys()))
def test_a_key_that_is_not_for_es256_is_named(tmp_path: Path, case: str) -> None:
    content, message = other_keys()[case]
    file = tmp_path / "AuthKey.p8"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        ApnsKey.from_file(file, key_id=KEY_ID, team_id=TEAM_ID)
    text = str(caught.value)
    assert text.startswith(f"{file} ")
    assert message in text
    assert "expected the .p8 file from Apple" in text


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.p8 cannot be read \(No such file"):
        ApnsKey.from_file(tmp_path / "gone.p8", key_id=KEY_ID, team_id=TEAM_ID)
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory"):
        ApnsKey.from_file(str(tmp_path), key_id=KEY_ID, team_id=TEAM_ID)

    def denied(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.open", denied)  # for root no file is unreadable
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Permission denied"):
        ApnsKey.from_file(tmp_path / "AuthKey.p8", key_id=KEY_ID, team_id=TEAM_ID)


@pytest.mark.parametrize(
    "value", ["", "ABC123DEF", "ABC123DEFGH", "abc123defg", "ABC123DEF\n", "ÄBC123DEFG", None]
)
@pytest.mark.parametrize("name", ["key_id", "team_id"])
def test_identifiers_are_ten_characters(name: str, value: str) -> None:
    identifiers = {"key_id": KEY_ID, "team_id": TEAM_ID, name: value}
    with pytest.raises(ConfigurationError, match=name):
        ApnsKey(PRIVATE, key_id=identifiers["key_id"], team_id=identifiers["team_id"])


@pytest.mark.parametrize(("slot", "margin"), [(0, 120), (1800, -1), (2400, 1), (3600, 120)])
def test_slots_must_leave_room_for_apples_rules(slot: int, margin: int) -> None:
    with pytest.raises(ConfigurationError, match=r"slot|margin"):
        make_key(slot=slot, margin=margin)


def test_no_secret_is_shown() -> None:
    key = make_key()
    lease = TokenLease(key)
    token = send(lease, START)
    shown = f"{key!r} {lease!r} {token!r}"
    assert KEY_ID in shown
    assert "bearer" not in shown
    assert token.value.decode().split(".")[2] not in shown
    with pytest.raises(ConfigurationError) as caught:
        ApnsKey(PRIVATE, key_id=pem().decode(), team_id=TEAM_ID)
    assert "PRIVATE" not in str(caught.value)
