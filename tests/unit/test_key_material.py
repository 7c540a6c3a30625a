"""Keys as they come out of files, environments and editors: loaded, or named for what they are; never repeated."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from pushcore.apns.client import ApnsClient
from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput, read_small
from pushcore.auth.google_credentials import GoogleCredentials
from pushcore.auth.provider_token import ApnsKey
from pushcore.auth.service_account import ServiceAccount
from pushcore.engine.shared import SharedState
from pushcore.errors import ConfigurationError, PushcoreError
from pushcore.fcm.client import FcmClient
from pushcore.fcm.legacy import LegacyFcmClient
from pushcore.http2.proxy import Proxy
from pushcore.http2.tls import ApnsCertificate, client_context
from pushcore.journal.campaign import Source
from pushcore.journal.journal import Journal
from pushcore.journal.view import JournalView
from pushcore.key_material import (
    checked_path,
    find_private_key,
    password_in,
    pem_blocks,
    plain,
    read_material,
)
from pushcore.models.expo_message import ExpoMessage
from pushcore.models.fcm import LegacyMessage, Message
from pushcore.queue.ledger import Ledger
from tests.support.key_material import (
    EMAIL,
    FORMS,
    account,
    certificate,
    ec_key,
    given_materials,
    leaks,
    materials,
    told,
)

IDS: dict[str, Any] = {"key_id": "ABC123DEFG", "team_id": "TEAM123456"}
AnyKey: Any = ApnsKey
AnyAccount: Any = ServiceAccount
any_context: Any = client_context
"""For arguments of a wrong type."""
FORM = pytest.mark.parametrize("form", FORMS)


def given_as(text: str, way: str, directory: Path) -> Any:
    """The argument of `from_file`: the text, its bytes, or the path of a file with it."""
    if way == "str":
        return text
    if way == "bytes":
        return text.encode()
    file = directory / "material"
    file.write_bytes(text.encode())
    return file


# --- loaded


@pytest.mark.parametrize(
    "form",
    [
        lambda text: text.replace("\n", "\u00a0\n"),
        lambda text: text.replace("\n", "\u200b\n"),
        lambda text: '"' + text.strip().replace("\n", '\\n"\n"') + '"',
    ],
    ids=["no-break spaces", "invisible characters", "lines of a program"],
)
def test_a_key_with_an_editors_characters_in_its_lines_is_loaded(form: Callable[[str], str]) -> None:
    key = ApnsKey.from_file(form(materials()["p8"]), **IDS)
    assert key.token(1.8e9).value == ApnsKey(ec_key(), **IDS).token(1.8e9).value


@FORM
@pytest.mark.parametrize("way", ["str", "bytes", "file"])
@pytest.mark.parametrize("kind", ["p8", "sec1"])
def test_an_apns_key_is_loaded(form: str, way: str, kind: str, tmp_path: Path) -> None:
    source = given_as(FORMS[form](materials()[kind]), way, tmp_path)
    key = ApnsKey.from_file(source, **IDS)
    expected = ApnsKey(ec_key(), **IDS)
    assert key.token(1.8e9).value == expected.token(1.8e9).value


@FORM
@pytest.mark.parametrize("way", ["str", "bytes", "file"])
def test_a_service_account_is_loaded(form: str, way: str, tmp_path: Path) -> None:
    for kind in ("service account", "service account in one line"):
        found = ServiceAccount.from_file(given_as(FORMS[form](materials()[kind]), way, tmp_path))
        assert found.client_email == EMAIL
        assert found.assertion(1.8e9) == ServiceAccount.from_info(account()).assertion(1.8e9)


@FORM
def test_a_certificate_is_loaded(form: str, tmp_path: Path) -> None:
    text = FORMS[form](materials()["certificate with key"])
    for way in ("str", "bytes", "file"):
        found = ApnsCertificate.from_file(given_as(text, way, tmp_path))
        assert found.subject == "Apple Push Services: com.example.app"
    key = FORMS[form](materials()["sec1"])
    assert ApnsCertificate.from_pem(text, key_file=key).expires == found.expires


@FORM
def test_authorities_are_loaded(form: str, tmp_path: Path) -> None:
    text = FORMS[form](certificate().public_bytes(serialization.Encoding.PEM).decode())
    for way in ("str", "bytes", "file"):
        context = client_context(ca_file=given_as(text, way, tmp_path))
        assert context.cert_store_stats()["x509"] == 1


def test_a_pkcs12_is_loaded_from_a_variable() -> None:
    text = materials()["PKCS#12"]
    for source in (text, text.encode(), base64.b64decode(text), f"\n{text}\n"):
        found = ApnsCertificate.from_file(source, password="correct horse")
        assert found.subject == ApnsCertificate.from_pkcs12(source, password=b"correct horse").subject


def test_der_is_loaded() -> None:
    der = ec_key().private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for source in (der, base64.b64encode(der), base64.b64encode(der).decode()):  # a .p8 without its two lines
        assert ApnsKey.from_file(source, **IDS).token(1.8e9)
    authority = certificate().public_bytes(serialization.Encoding.DER)
    assert client_context(ca_file=authority).cert_store_stats()["x509"] == 1


def test_utf_16_of_an_editor() -> None:
    for name in ("utf-16-le", "utf-16-be"):
        content = "\ufeff".encode(name) + materials()["p8"].encode(name)
        assert ApnsKey.from_pem(content, **IDS).token(1.8e9)


def test_a_key_with_the_parameters_of_its_curve_before_it() -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert ApnsKey.from_pem(parameters + materials()["sec1"], **IDS).token(1.8e9)


@pytest.mark.parametrize(
    "change", [lambda text: text.replace("\n", " "), lambda text: text.replace("\n", "")]
)
def test_a_key_whose_line_breaks_were_lost(change: Callable[[str], str]) -> None:
    assert ApnsKey.from_pem(change(materials()["p8"]), **IDS).token(1.8e9)


@pytest.mark.parametrize("doubled", [1, 2, 3])
def test_a_service_account_whose_escapes_were_doubled(doubled: int) -> None:
    text = materials()["service account"]
    for _ in range(doubled):
        text = text.replace("\\n", "\\\\n")
    assert ServiceAccount.from_file(text).assertion(1.8e9)


def test_a_service_account_whose_escapes_were_undone() -> None:
    """By a shell's `echo`: the line breaks of the key stand in the JSON string."""
    text = materials()["service account"].replace("\\n", "\n")
    assert ServiceAccount.from_file(text).assertion(1.8e9)
    assert ServiceAccount.from_file(json.dumps(materials()["service account"])).assertion(1.8e9)


def test_blanks_around_the_members_of_a_service_account() -> None:
    changes = {
        "client_email": f" {EMAIL} \n",
        "token_uri": "https://127.0.0.1:1/token\n",
        "project_id": " my-project ",
    }
    found = ServiceAccount.from_info(account(**changes))
    assert (found.client_email, found.project_id) == (EMAIL, "my-project")
    assert found.assertion(1.8e9) == ServiceAccount.from_info(account()).assertion(1.8e9)


def test_blanks_around_identifiers() -> None:
    key = ApnsKey.from_pem(materials()["p8"], key_id="ABC123DEFG\n", team_id=" TEAM123456 ")
    assert (key.key_id, key.team_id) == ("ABC123DEFG", "TEAM123456")


def test_an_account_as_text() -> None:
    text = materials()["service account"]
    for content in (text, text.encode(), "\ufeff" + text):
        assert ServiceAccount.from_info(content).client_email == EMAIL


# --- named for what it is


def openssh() -> str:
    """A private key as ssh-keygen writes it."""
    return (
        ec_key()
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        .decode()
    )


def public() -> str:
    """A public key."""
    subject = serialization.PublicFormat.SubjectPublicKeyInfo
    return ec_key().public_key().public_bytes(serialization.Encoding.PEM, subject).decode()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "the key must be a path or the content itself, not NoneType; expected the .p8"),
        (5, "not int"),
        ({"a": "b"}, "not dict"),
        ("", "the key is empty"),
        (" \n", "the key is empty"),
        (b"", "the key is empty"),
        ("a\nb", "the key is a text of several lines and not a path"),
        ("0\x82\x01", "the key is binary data and not a path"),
        ("/etc\0", "the key is binary data and not a path"),
        (lambda: materials()["rsa"], "the key holds a key of another kind (RSA)"),
        (lambda: materials()["pkcs1"], "the key holds a key of another kind (RSA)"),
        (lambda: materials()["encrypted"], "the key is encrypted"),
        (lambda: materials()["encrypted as OpenSSL does"], "the key is encrypted"),
        (lambda: materials()["service account"], "the key is JSON and not PEM"),
        (lambda: base64.b64decode(materials()["PKCS#12"]), "the key is PKCS#12 and not PEM"),
        (lambda: materials()["PKCS#12"], "the key is PKCS#12 and not PEM"),
        (
            lambda: certificate().public_bytes(serialization.Encoding.PEM).decode(),
            "the key holds a certificate and no private key",
        ),
        (public, "the key holds a public key and no private key"),
        (openssh, "the key holds a key in OpenSSH's own format"),
        (lambda: materials()["p8"].split("-----END")[0], "the key is damaged: a PEM block has no end"),
        (lambda: materials()["p8"].replace("MIG", "MIM"), "the key is damaged"),
    ],
)
def test_a_malformed_apns_key_is_rejected(source: Any, words: str) -> None:
    source = source() if callable(source) else source
    with pytest.raises(ConfigurationError) as caught:
        ApnsKey.from_file(source, **IDS)
    assert words in str(caught.value)
    assert "expected the .p8 file from Apple" in str(caught.value)
    if isinstance(source, str):
        assert leaks(source, told(caught.value)) is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "the service account must be a path or the content itself, not NoneType"),
        ({"type": "service_account"}, "not dict"),
        ("", "the service account is empty"),
        (b"[1]", "the service account is not a JSON object but a list"),
        (b"null", "the service account is not a JSON object but null"),
        (b" 5 ", "the service account is not a JSON object but a number"),
        ("[{}]", "the service account is JSON and not a path"),
        (b"{", "the service account is not JSON"),
        (lambda: materials()["p8"], "the service account is a private key in PEM and not JSON"),
        (lambda: materials()["service account"][:-2], "the service account is not JSON"),
    ],
)
def test_a_malformed_service_account_is_rejected(source: Any, words: str) -> None:
    source = source() if callable(source) else source
    with pytest.raises(ConfigurationError) as caught:
        ServiceAccount.from_file(source)
    assert words in str(caught.value)
    if isinstance(source, str):
        assert leaks(source, told(caught.value)) is None


@pytest.mark.parametrize("name", ["from_file", "from_pem", "from_pkcs12"])
@pytest.mark.parametrize(
    ("source", "words"),
    [(None, "the certificate must be a path or the content itself, not NoneType"), (5, "not int")],
)
def test_a_malformed_certificate_is_rejected(name: str, source: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        getattr(ApnsCertificate, name)(source)
    assert words in str(caught.value)
    with pytest.raises(ConfigurationError, match="password must be a string or bytes, not int"):
        getattr(ApnsCertificate, name)(
            materials()["PKCS#12" if "12" in name else "certificate with key"], password=5
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: AnyKey(materials()["p8"], **IDS),
            "key must be a key on P-256; from_file and from_pem read one, not str",
        ),
        (
            lambda: AnyKey(ec.generate_private_key(ec.SECP384R1()), **IDS),
            "key holds a key on the curve secp384r1",
        ),
        (lambda: AnyKey.from_pem(None, **IDS), "the key must be str or bytes, not None"),
        (
            lambda: AnyKey(ec_key(), key_id="ABC123DEFG", team_id=b"TEAM123456"),
            "team_id must be 10 characters of A-Z and 0-9, as Apple shows it for the key, not bytes",
        ),
        (lambda: AnyAccount.from_info(None), "is not a mapping or JSON but None"),
        (lambda: AnyAccount.from_info("text"), "the service account is not JSON; expected"),
        (lambda: AnyAccount.from_info("true"), "is not a JSON object but true or false"),
        (
            lambda: AnyAccount(
                rsa.generate_private_key(65537, 1024), client_email=EMAIL, token_uri="https://h/"
            ),
            "key has 1024 bits",
        ),
        (lambda: AnyAccount.from_info(account(client_email="a\x00b")), 'has a "client_email" with control'),
        (lambda: any_context(ca_file=5), "ca_file must be a path or the content itself, not int"),
        (lambda: any_context(ca_file=materials()["p8"]), "ca_file holds no certificate"),
        (lambda: any_context(ca_file=materials()["service account"]), "ca_file holds no certificate"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert words in str(caught.value)


def test_the_name_of_an_option_stands_for_the_content() -> None:
    for make in (
        lambda: ApnsKey.from_file(materials()["rsa"], **IDS, name="--apns-key"),
        lambda: ServiceAccount.from_file(materials()["p8"], name="--apns-key"),
        lambda: ApnsCertificate.from_file(materials()["p8"], name="--apns-key"),
        lambda: ApnsCertificate.from_pkcs12(materials()["p8"], name="--apns-key"),
    ):
        with pytest.raises(ConfigurationError, match=r"^--apns-key "):
            make()


# --- nothing is repeated

CONSTRUCTORS: dict[str, Callable[[str], object]] = {
    "ApnsKey": lambda text: ApnsKey(text, **IDS),  # type: ignore[arg-type]
    "ApnsKey.from_file": lambda text: ApnsKey.from_file(text, **IDS),
    "ApnsKey.from_file, bytes": lambda text: ApnsKey.from_file(text.encode(), **IDS),
    "ApnsKey.from_pem": lambda text: ApnsKey.from_pem(text, **IDS),
    "ApnsKey, key_id": lambda text: ApnsKey(ec_key(), key_id=text, team_id="TEAM123456"),
    "ApnsKey, team_id": lambda text: ApnsKey(ec_key(), key_id="ABC123DEFG", team_id=text),
    "ApnsKey, topics": lambda text: ApnsKey(ec_key(), **IDS, topics=text),
    "ApnsKey, environment": lambda text: ApnsKey(ec_key(), **IDS, environment=text),  # type: ignore[arg-type]
    "ServiceAccount": lambda text: ServiceAccount(text, client_email=EMAIL, token_uri="https://h/"),  # type: ignore[arg-type]
    "ServiceAccount.from_file": ServiceAccount.from_file,
    "ServiceAccount.from_info": ServiceAccount.from_info,
    "ServiceAccount, type": lambda text: ServiceAccount.from_info(account(type=text)),
    "ServiceAccount, private_key": lambda text: ServiceAccount.from_info(account(private_key=text)),
    "ServiceAccount, client_email": lambda text: ServiceAccount.from_info(account(client_email=text)),
    "ServiceAccount, token_uri": lambda text: ServiceAccount.from_info(account(token_uri=text)),
    "ApnsCertificate.from_file": ApnsCertificate.from_file,
    "ApnsCertificate.from_file, password": lambda text: ApnsCertificate.from_file(
        materials()["PKCS#12"], password=text
    ),
    "ApnsCertificate.from_pem": ApnsCertificate.from_pem,
    "ApnsCertificate.from_pem, key_file": lambda text: ApnsCertificate.from_pem(
        materials()["certificate with key"], key_file=text
    ),
    "ApnsCertificate.from_pkcs12": ApnsCertificate.from_pkcs12,
    "ApnsClient": lambda text: ApnsClient(text),  # type: ignore[arg-type]
    "ApnsClient, topic": lambda text: apns_client(topic=text),
    "ApnsClient, environment": lambda text: apns_client(environment=text),
    "ApnsClient, url": lambda text: apns_client(url=text),
    "ApnsClient, ca_file": lambda text: apns_client(ca_file=text),
    "ApnsClient, proxy": lambda text: apns_client(proxy=text),
    "ApnsClient, http2": lambda text: apns_client(http2=text),
    "FcmClient": lambda text: FcmClient(text),  # type: ignore[arg-type]
    "FcmClient, project_id": lambda text: fcm_client(project_id=text),
    "FcmClient, url": lambda text: fcm_client(url=text),
    "FcmClient, ca_file": lambda text: fcm_client(ca_file=text),
    "LegacyFcmClient": lambda text: LegacyFcmClient(text, url="https://127.0.0.1:1"),
    "client_context": lambda text: client_context(ca_file=text),
    "Proxy": lambda text: Proxy("127.0.0.1", 1, tls=True, ca_file=text),
    "Proxy.parse": Proxy.parse,
    "Journal.create": lambda text: Journal.create(text, None),  # type: ignore[arg-type]
    "Journal.open": Journal.open,
    "JournalView": JournalView,
    "Ledger.create": lambda text: Ledger.create(text, None),  # type: ignore[arg-type]
    "Ledger.open": Ledger.open,
    "SharedState": SharedState,
    "Audience": Audience,
    "read_small": lambda text: read_small(text, "a file", 100),
}


def apns_client(**options: Any) -> ApnsClient:
    return ApnsClient(ApnsKey(ec_key(), **IDS), **{"ca_file": authority(), **options})


def fcm_client(**options: Any) -> FcmClient:
    return FcmClient(ServiceAccount.from_info(account()), **{"ca_file": authority(), **options})


def authority() -> bytes:
    return certificate().public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("constructor", CONSTRUCTORS)
@given(material=given_materials())
def test_no_constructor_repeats_key_material(constructor: str, material: str) -> None:
    try:
        made = CONSTRUCTORS[constructor](material)
    except (PushcoreError, BadInput, TypeError, OSError) as error:
        text = told(error)
    else:
        text = f"{made!r} {made}"
    assert leaks(material, text) is None


@pytest.mark.parametrize("constructor", sorted(CONSTRUCTORS.keys() - {"ApnsKey.from_file, bytes"}))
@pytest.mark.parametrize("kind", ["p8", "certificate with key", "PKCS#12", "service account"])
def test_half_of_a_surrogate_pair_in_key_material_does_not_repeat_it(constructor: str, kind: str) -> None:
    """The error of `str.encode` holds the whole text."""
    content = materials()[kind]
    for text in (f"\ud800{content}", f"{content}\ud800", f"{content[:60]}\ud800{content[60:]}"):
        said = ""
        try:
            CONSTRUCTORS[constructor](text)
        except (PushcoreError, BadInput, TypeError, OSError) as error:  # no UnicodeEncodeError
            said = told(error)
        assert leaks(content, said) is None


def test_a_key_with_half_of_a_surrogate_pair_at_its_end_is_loaded() -> None:
    expected = ApnsKey(ec_key(), **IDS).token(1.8e9).value
    assert ApnsKey.from_file(materials()["p8"] + "\ud800", **IDS).token(1.8e9).value == expected
    assert ServiceAccount.from_info(account(private_key=materials()["rsa"] + "\ud800")).assertion(1.8e9)


def test_a_path_that_cannot_be_written_is_not_in_the_context_of_the_error(tmp_path: Path) -> None:
    """Key material in a coding that nothing recognises is taken for a path, and removed from the message."""
    packed = base64.b64encode(gzip.compress(materials()["p8"].encode())).decode()
    for path in (f"{tmp_path}/none/{packed}", f"{tmp_path}/{packed * 3}"):
        with pytest.raises(PushcoreError, match=r"No such file|File name too long|removed") as caught:
            Journal.create(path, Source("devices.csv"))
        assert packed[20:60] not in told(caught.value)


@pytest.mark.parametrize(
    "parse",
    [
        lambda text: ExpoMessage.from_dict({text: 1}, strict=True),
        lambda text: Message.from_dict({"message": {text: 1}}),
        lambda text: LegacyMessage.from_dict({text: 1}),
    ],
)
@given(material=given_materials())
def test_an_unknown_key_does_not_repeat_key_material(parse: Callable[[str], object], material: str) -> None:
    with pytest.raises(ValueError, match="unknown key") as caught:
        parse(material)
    assert leaks(material, told(caught.value)) is None


@given(st.sampled_from(sorted(materials())), st.integers(40, 1000))
def test_a_part_of_a_key_is_not_repeated(kind: str, cut: int) -> None:
    """Pasted without its end."""
    material = materials()[kind][: min(cut, len(materials()[kind]) - 40)]
    for read in (ApnsKey.from_file, ServiceAccount.from_file, ApnsCertificate.from_file, Audience):
        options = IDS if read == ApnsKey.from_file else {}
        with pytest.raises((ConfigurationError, BadInput)) as caught:
            read(material, **options)
        assert leaks(material, told(caught.value)) is None


def test_a_path_that_cannot_be_read_leaves_no_trace_but_the_message(tmp_path: Path) -> None:
    """The context of an exception repeats the path, which may be a passphrase given by mistake."""
    with pytest.raises(BadInput) as caught:
        read_small("correct horse", "a file with the passphrase", 100, name="the file of --option")
    assert "correct horse" not in told(caught.value)
    with pytest.raises(ConfigurationError, match=r"gone\.p8 cannot be read \(No such file") as refused:
        ApnsKey.from_file(tmp_path / "gone.p8", **IDS)
    assert refused.value.__context__ is None


def test_google_auth_takes_no_content_of_authorities() -> None:
    from google.auth.credentials import AnonymousCredentials

    with pytest.raises(ConfigurationError, match="ca_file is a certificate in PEM and not a path"):
        GoogleCredentials(AnonymousCredentials(), ca_file=authority().decode())  # type: ignore[no-untyped-call]


# --- the parts


def test_plain_content() -> None:
    assert plain(b"") == b""
    assert plain(b'\xef\xbb\xbf "text" \r\n') == b"text"
    assert plain(b"\x30\x82" + b"\n" * 40) == b"\x30\x82" + b"\n" * 40
    assert plain(b"caf\xe9 ") == b"caf\xe9"


def test_blocks_of_pem() -> None:
    text = f"Bag Attributes\n{materials()['certificate with key']}"
    assert [label for label, _ in pem_blocks(text.encode())] == ["CERTIFICATE", "PRIVATE KEY"]
    for form in FORMS.values():
        blocks = pem_blocks(plain(form(materials()["p8"]).encode()))
        assert blocks == [("PRIVATE KEY", materials()["p8"].encode())]
    encrypted = materials()["encrypted as OpenSSL does"]
    assert pem_blocks(encrypted.replace("\n", "\r\n").encode()) == [("RSA PRIVATE KEY", encrypted.encode())]


def test_the_private_key_is_found() -> None:
    block, encrypted = find_private_key(materials()["certificate with key"].encode(), ConfigurationError)
    assert (block, encrypted) == (materials()["p8"].encode(), False)
    assert find_private_key(materials()["encrypted"].encode(), ConfigurationError)[1] is True


def test_a_name_and_the_content(tmp_path: Path) -> None:
    file = tmp_path / "key.p8"
    file.write_text("\ufeffcontent\n")
    read = read_material(file, argument="the key", expected="expected a key")
    assert read == (str(file), b"content")
    assert read_material(b"content", argument="the key", expected="", name="--key") == ("--key", b"content")


def test_a_path_is_checked() -> None:
    assert checked_path(Path("journal.db"), "the path") == "journal.db"
    for wrong in (None, b"journal.db", 7):
        with pytest.raises(ConfigurationError, match=r"^the path must be a path, not (NoneType|bytes|int)$"):
            checked_path(wrong, "the path")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^the path is a private key in PEM and not a path$"):
        checked_path(materials()["p8"], "the path")


@pytest.mark.parametrize(
    "content",
    [
        b"correct horse",
        b"correct horse\n",
        b"correct horse\r\n",
        b"\xef\xbb\xbfcorrect horse\n",
        "correct horse\r\n".encode("utf-16"),
        b"\xfe\xff" + "correct horse\n".encode("utf-16-be"),
    ],
)
def test_a_password_is_read_as_editors_and_shells_write_it(content: bytes) -> None:
    assert password_in(content) == b"correct horse"
    assert password_in(b" ends blank ") == b" ends blank "
    assert password_in(b"caf\xe9") == b"caf\xe9"
