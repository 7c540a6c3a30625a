"""Key material is recognised where a path is expected, and removed from what is printed."""

from __future__ import annotations

import base64
import gzip
import random
import re
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pushcore.arguments import shown
from pushcore.audience.problems import shown as shown_of_a_file
from pushcore.auth.provider_token import ApnsKey
from pushcore.auth.service_account import ServiceAccount
from pushcore.errors import ConfigurationError, JournalError, PushcoreError
from pushcore.fcm.client import FcmClient
from pushcore.http2.proxy import Proxy
from pushcore.journal.journal import JournalView
from pushcore.queue.errors import QueueRefused
from pushcore.redaction import REMOVED, describe_address, describe_secret, redact, redact_value, shown_name
from tests.support.key_material import BROKEN, FORMS, ec_key, given_materials, leaks, materials, told
from tests.unit.test_arguments import ACCOUNT

PATHS = (
    "AuthKey_ABC123DEFG.p8",
    "/home/user/projects/AuthKey_ABC123DEFG.p8",
    "/Users/JohnDoe/Projects2026/com.example.Push/AuthKey_ABC123DEFG.p8",
    "C:\\Users\\new\\run\\table.csv",
    "/tmp/pytest-of-root/pytest-0/test_a_file_that_cannot_be_rea0/AuthKey",
    "s3://bucket/2026-11-29/Devices-Run7.parquet",
    "/var/lib/docker/overlay2/3f2a9c0d1e4b5a6f7081920304050607080910111213141516171819202122ff/merged",
    "550e8400-e29b-41d4-a716-446655440000.csv",
    "{devices}.csv",
    "my devices of today.csv",
    "Geräte\udce4.csv",
    "-",
    "",
    "devices.csv\n",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "MIGRATIONOFTHEDATABASEOFDEVICESTOTHENEWSERVERS",
)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_a_path(path: str) -> None:
    assert describe_secret(path) is None
    assert redact(f"{path} cannot be read (No such file or directory)").startswith(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("p8", "a private key in PEM"),
        ("sec1", "a private key in PEM"),
        ("encrypted", "a private key in PEM"),
        ("PKCS#12", "a key or a certificate in base64"),
        ("service account", "JSON"),
        ("authorized user", "JSON"),
    ],
)
def test_key_material_is_named_for_what_it_is(kind: str, words: str) -> None:
    for form, change in FORMS.items():
        said = describe_secret(change(materials()[kind]))
        if form.startswith("base64") or kind == "PKCS#12":
            assert said is not None
            assert said.endswith("in base64")
        else:
            assert said == words


@pytest.mark.parametrize("kind", materials())
@pytest.mark.parametrize("form", BROKEN)
def test_broken_key_material_is_no_path_either(kind: str, form: str) -> None:
    given = BROKEN[form](materials()[kind])
    # Half of a line of base64 is recognised by its beginning; of other texts, by their marks and their line breaks.
    assert describe_secret(given) is not None


@given(given_materials(), st.sampled_from(["{}", "{!r}", "'{}' is not a number.", "{}: no such file"]))
def test_no_key_material_passes_the_last_filter(material: str, sentence: str) -> None:
    text = sentence.format(material)
    for output in (redact(text), redact(" ".join(text.split())), redact(redact(text))):
        assert leaks(material, output) is None


@given(st.integers(0, 2**32), st.integers(60, 160))
def test_random_bytes_in_base64_are_removed(seed: int, cut: int) -> None:
    """A key of a shape that is not known, and the beginning of one that a message has cut off."""
    text = base64.b64encode(random.Random(seed).randbytes(128)).decode()
    assert redact(f"not {text!r}") == f"not '{REMOVED}'"
    assert leaks(text, redact(f"not {text[:cut]!r}")) is None


def test_words_around_it_stay() -> None:
    key = materials()["p8"]
    assert redact(f"{key.strip()} cannot be read") == f"{REMOVED} cannot be read"
    account = materials()["service account in one line"]
    said = redact(f"not {account}, sorry")
    assert '"project_id": "my-project"' in said
    assert said.endswith(", sorry")


@pytest.mark.parametrize(
    "text",
    [
        "a rate looks like 5000/s, 600000/min or \"none\", not '5000/h'",
        "--apns-key is missing (from the variable PUSHCORE_APNS_KEY_OF_THE_SECOND_TEAM_2)",
        "the token is 740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad",
        'expected the .p8 file from Apple, an unencrypted P-256 private key in PEM ("BEGIN PRIVATE KEY")',
        "https://127.0.0.1:2197 and http://user@proxy.example:3128 cannot be reached by me@example.com",
        "'maybe' is not a valid boolean. Recognized values: 0, 1, f, false, n, no, off, on, t, true, y, yes. (see x --help)",
        "campaign 5f2a9c0d1e4b5a6f of projects/my-project-1/messages/0:1700000000000000%31bd1c9631bd1c96",
    ],
)
def test_ordinary_messages_stay(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "url",
    [
        "redis://:{}@queue.example:6379/0",
        "http://user:{}@proxy.example:port",
        "nats://user:{}@[::1",
        "https:/user:{}@host/path",
        "http://user:pass/word#{}@host",
    ],
)
def test_passwords_in_urls_are_removed(url: str) -> None:
    said = redact(f"{url.format('correct-horse')!r} cannot be read (from the key ca-file)")
    assert "horse" not in said
    assert said.endswith(" cannot be read (from the key ca-file)")


PROXIES = (
    *(
        "user:{}@h:3128",
        "http://user:{}@h:3128",
        "http:/user:{}@h:3128",
        "//user:{}@h:3128",
        "https:user:{}@h",
    ),
    *(
        "https://user:{}@h:99999",
        "ftp://user:{}@h",
        "http://:{}@h:1",
        "http://user:{}@[::1",
        "user:{}@[::1]:3128",
    ),
    *("https://a:{}@h?x=1", "user:{}@", "http=user:{}@h:1", "user:{0}@h:1,user:{0}@g:1"),
)
PASSWORDS = (
    *(
        "s3cret",
        "s3cret with blanks",
        "s3'cret",
        's3"cret',
        "p@s3cret",
        "s3/cret",
        "s3#cret",
        "s3?cret",
        "s3:cret",
    ),
    *(
        "s3%20cret",
        "s3\\cret",
        "[s3cret]",
        "s3,cret",
        "üs3cret",
        "{s3cret}",
        "$s3cret",
        "s3\tcret",
        "@s3cret@",
    ),
)


@pytest.mark.parametrize("form", PROXIES)
@pytest.mark.parametrize("password", PASSWORDS)
def test_passwords_of_proxies_are_removed_in_every_form(form: str, password: str) -> None:
    value = form.format(password)
    for text in (redact_value(value), shown(value), shown_of_a_file(value)):
        assert "cret" not in text
    if password.isprintable() and not {"'", '"'} <= set(value):
        assert "cret" not in redact(f"Invalid value for '--x': {value!r} is no number.")
    calls: list[Callable[[], object]] = [
        lambda: FcmClient(ACCOUNT, url=value),
        lambda: FcmClient(ACCOUNT, proxy=value),
        lambda: Proxy(value, 1),
        lambda: ServiceAccount.from_file(value),
        lambda: JournalView(value),
    ]
    for call in calls:
        try:
            said = repr(call())
        except PushcoreError as error:
            said = f"{error} {error.__cause__}"
        assert "cret" not in said


@pytest.mark.parametrize(
    "value",
    ["10:30", "mailto:me@example.com", "a@b.example", "https://h:8443", "https://[::1]:1", "x: y"],
)
def test_ordinary_values_stay(value: str) -> None:
    assert redact_value(value) == value
    assert describe_address(value) is None


def test_an_address_with_a_password_is_no_path() -> None:
    for value in ("user:pw@h:3128", "user:p w@h", "http://user:p w@h"):
        assert describe_address(value) == "an address with a password"
    for value in ("s3://key:secret@bucket/devices.csv", "./a:b@c", "/data/a:b@c", "devices.csv"):
        assert describe_address(value) is None


@pytest.mark.parametrize("kind", ["p8", "service account"])
def test_key_material_in_hexadecimal(kind: str) -> None:
    text = materials()[kind].encode().hex()
    for written in (text, f"0x{text}", f"\\x{text}", f"x{text}"):  # as databases print bytes
        assert describe_secret(written) == "a key or a certificate in hexadecimal"
        assert text[40:80] not in redact(f"'{written}' is none")
    assert text[20:60] not in redact(f"{text} cannot be read")


@pytest.mark.parametrize("kind", ["p8", "PKCS#12", "service account in one line"])
def test_base64_of_key_material_in_hexadecimal(kind: str) -> None:
    content = materials()[kind].encode()
    coded = content if kind == "PKCS#12" else base64.b64encode(content)
    for text in (coded.hex(), coded.hex().upper(), f"0x{coded.hex()}"):
        assert describe_secret(text) == "a key or a certificate in hexadecimal"
        assert text[40:80] not in redact(f"'{text}' is none")


@pytest.mark.parametrize("error", [ConfigurationError, JournalError, QueueRefused])
def test_exceptions_that_quote_input_are_filtered(error: type[PushcoreError]) -> None:
    key = materials()["p8"]
    raised = error(f"not {key.strip()!r}")
    assert leaks(key, f"{raised} {raised!r} {raised.args}") is None
    assert str(raised) == f"not '{REMOVED}'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no journal redis://u:Hunter2Secr", "no journal redis://u:[password removed]"),
        ("'redis://:Hunter2Secr' is no path", "'redis://:[password removed]' is no path"),
        ("redis://HOST:PORT or nats://HOST:4222/0", "redis://HOST:PORT or nats://HOST:4222/0"),
        ("https://[::1]:8443, not http://h:80", "https://[::1]:8443, not http://h:80"),
        ("s3://b/key?X-Amz-Signature=abc&part=1", "s3://b/key?X-Amz-Signature=[password removed]&part=1"),
        ("redis://h?password=a&db=1", "redis://h?password=[password removed]&db=1"),
    ],
)
def test_a_password_without_a_host_and_one_in_a_query_are_removed(text: str, expected: str) -> None:
    assert redact(text) == expected


def base85_in_lines(data: bytes) -> str:
    """As editors wrap it."""
    text = base64.b85encode(data).decode()
    return "\\n".join(text[at : at + 64] for at in range(0, len(text), 64))


ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "base32": lambda data: base64.b32encode(data).decode(),
    "base32 in small letters": lambda data: base64.b32encode(data).decode().lower().rstrip("="),
    "base32 in groups": lambda data: " ".join(re.findall(".{1,8}", base64.b32encode(data).decode())),
    "base32 in a shell's quotes": lambda data: f"$'{base64.b32encode(data).decode()}'",
    "base85": lambda data: base64.b85encode(data).decode(),
    "base85 in lines": base85_in_lines,
    "ascii85": lambda data: base64.a85encode(data).decode(),
    "ascii85 of Adobe": lambda data: base64.a85encode(data, adobe=True).decode(),
    "hexadecimal": bytes.hex,
    "hexadecimal with colons": lambda data: data.hex(":"),
    "hexadecimal with blanks": lambda data: data.hex(" "),
    "decimal": lambda data: str(int.from_bytes(data)),
    "a list": lambda data: str(list(data)),
    "escapes": lambda data: "".join(f"\\{byte:03o}" for byte in data),
    "for URLs": lambda data: "".join(f"%{byte:02x}" for byte in data),
    "base64 of gzip": lambda data: base64.b64encode(gzip.compress(data, mtime=0)).decode(),
    "base64 backwards": lambda data: base64.b64encode(data).decode()[::-1],
    "a long word": lambda data: "secret" * 50,
}
"""Texts that no file name looks like."""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["p8", "DER", "random"])
def test_a_key_in_any_encoding_is_not_shown_as_a_path(encoding: str, kind: str) -> None:
    der = ec_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    data = {"p8": materials()["p8"].encode(), "DER": der, "random": random.Random(4).randbytes(48)}[kind]
    text = ENCODINGS[encoding](data)
    with pytest.raises(ConfigurationError) as caught:
        ApnsKey.from_file(text, key_id="ABC123DEFG", team_id="TEAM123456")
    said = told(caught.value)
    assert not [text[at : at + 12] for at in range(len(text) - 12) if text[at : at + 12] in said]
    for shown_path in (shown_name(text), shown_name(f"/etc/keys/{text}")):
        assert shown_path.startswith("[name of ")


@pytest.mark.parametrize("path", PATHS)
def test_a_path_is_shown(path: str) -> None:
    assert shown_name(path) == path


@pytest.mark.parametrize(
    ("encoding", "name"), [("base32", "base32"), ("base85", "base85"), ("ascii85 of Adobe", "ascii85")]
)
def test_a_key_in_other_encodings_is_named(encoding: str, name: str) -> None:
    for text in (materials()["p8"], materials()["service account"]):
        assert describe_secret(ENCODINGS[encoding](text.encode())) == f"a key or a certificate in {name}"


def test_words_that_look_random_are_removed_from_messages() -> None:
    text = base64.b32encode(random.Random(1).randbytes(40)).decode()
    assert redact(f"there is no {text} here") == f"there is no {REMOVED} here"
    assert redact(f"'{text[:40]} {text[40:]}' is none") == f"'{REMOVED}' is none"
    assert redact(f"there is no ledger {10**60}.p8") == f"there is no ledger {REMOVED}.p8"


@pytest.mark.parametrize("number", range(50))
@pytest.mark.parametrize("prefix", ["pcg_", "ya29.a0", "1//0g", "GOCSPX-"])
def test_a_token_with_a_known_prefix_is_removed_whether_it_looks_random_or_not(
    prefix: str, number: int
) -> None:
    """Half of the gateway's tokens, of 24 random bytes, do not look random enough."""
    token = prefix + base64.urlsafe_b64encode(random.Random(number).randbytes(24)).decode().rstrip("=")
    for text in (token, f"./{token}", f"'{token}' is no number", f"a={token};"):
        assert token not in redact(text)
    assert token not in shown_name(token)
    assert token not in shown_name(f"keys/{token}")
