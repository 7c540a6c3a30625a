"""Service accounts: what a key file may hold, the assertion, and every kind of response from the token endpoint."""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from pushcore.auth.service_account import SCOPE, ServiceAccount, TokenResponse, read_token
from pushcore.errors import AccessTokenError, ConfigurationError, ConnectError

NOW = 1_750_000_000.7
EMAIL = "pusher@my-project.iam.gserviceaccount.com"
URI = "https://oauth2.googleapis.com/token"


@functools.cache
def private_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def pem(key: Any, encryption: Any = None) -> str:
    raw: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )
    return raw.decode()


def info(**changes: Any) -> dict[str, Any]:
    """A right one, but for `changes`; None takes a field out."""
    fields = {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "abc123",
        "private_key": pem(private_key()),
        "client_email": EMAIL,
        "client_id": "1",
        "token_uri": URI,
        "universe_domain": "googleapis.com",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def decoded(part: bytes) -> Any:
    return orjson.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))


# --- the file -------------------------------------------------------------------------------------------------------


def test_a_key_file(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_text(json.dumps(info()))
    account = ServiceAccount.from_file(file)
    assert (account.client_email, account.project_id) == (EMAIL, "my-project")
    assert (account.key_id, account.token_uri) == ("abc123", URI)


def test_project_and_key_id_are_optional() -> None:
    account = ServiceAccount.from_info(info(project_id=None, private_key_id=None))
    assert account.project_id is None
    assert decoded(account.assertion(NOW).split(b".")[0]) == {"alg": "RS256", "typ": "JWT"}


def test_a_key_in_the_form_of_pkcs1() -> None:
    old = private_key().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    ServiceAccount.from_info(info(private_key=old.decode())).assertion(NOW)


def secret(kind: str) -> str:
    if kind == "ec":
        return pem(ec.generate_private_key(ec.SECP256R1()))
    if kind == "encrypted":
        return pem(private_key(), serialization.BestAvailableEncryption(b"pass"))
    if kind == "public":
        raw = private_key().public_key()
        return raw.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()
    return pem(private_key())[:400] + "\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": None}, 'no "type"'),
        ({"type": "authorized_user"}, "google-auth"),
        ({"type": "external_account"}, "google-auth"),
        ({"type": "impersonated_service_account"}, "google-auth"),
        ({"type": "something\x1b[31m"}, "of the type"),
        ({"type": None, "project_info": {}}, "google-services.json"),
        ({"type": None, "installed": {}}, "OAuth client"),
        ({"client_email": None}, 'no "client_email"'),
        ({"client_email": ""}, "empty"),
        ({"client_email": 5}, "not a string"),
        ({"client_email": "a\nb"}, "control characters"),
        ({"private_key": None}, 'no "private_key"'),
        ({"private_key": "abc"}, "not PEM"),
        ({"private_key": ["x"]}, "not a string"),
        ({"private_key": secret("broken")}, "damaged"),
        ({"private_key": secret("ec")}, "not RSA but"),
        ({"private_key": secret("encrypted")}, "encrypted"),
        ({"private_key": secret("public")}, "holds a public key and no private key"),
        ({"client_email": "pusher"}, "not an email address"),
        ({"private_key": pem(private_key(1024))}, "1024 bits"),
        ({"private_key_id": 7}, "not a string"),
        ({"project_id": ""}, "empty"),
        ({"token_uri": None}, 'no "token_uri"'),
        ({"token_uri": "http://oauth2.googleapis.com/token"}, "https"),
        ({"token_uri": "oauth2.googleapis.com/token"}, "https"),
        ({"token_uri": "https:///token"}, "https"),
        ({"token_uri": "https://[::1/token"}, "https"),
        ({"token_uri": "https://h:99999/token"}, "https"),
        ({"token_uri": "https://user:pass@h/token"}, "https"),
        ({"token_uri": "https://h/token#x"}, "https"),
        ({"token_uri": "https://h/to ken"}, "https"),
        ({"token_uri": "https://hé/token"}, "https"),
    ],
)
def test_a_wrong_service_account_is_rejected_in_one_sentence(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServiceAccount.from_info(info(**changes), name="account.json")
    text = str(caught.value)
    assert text.startswith("account.json ")
    assert words in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 400
    key = changes.get("private_key")
    if isinstance(key, str) and len(key) > 100:
        assert key[40:80] not in text  # nothing of a key, however broken


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_json_that_is_no_object(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"not JSON|not a JSON object|not a mapping"):
        ServiceAccount.from_info(value)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b" \n", "empty"), (b"{", "not JSON"), (b"\xff\xfe", "empty"), (b"\xff{", "not JSON")],
)
def test_files_that_hold_nothing(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        ServiceAccount.from_file(file)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (
            '{\n "type": "service_account",\n}',
            r"line (3 column 1|2 column 27)",
        ),  # from Python 3.13 on, the comma's place
        ('{"type": "service_account"', r"line 1 column 27"),
        ('{"private_key": "-----BEGIN PRIVATE KEY-----\\nMIIEvQ",,}', r"line 1 column 55"),
    ],
)
def test_a_mistake_in_the_json_is_named_by_line_and_column(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "account.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"account\.json is not JSON \(.*: {where}\); ") as caught:
        ServiceAccount.from_file(path)
    assert "MIIE" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ServiceAccount.from_file(tmp_path / "missing.json")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        ServiceAccount.from_file(tmp_path)


def test_the_key_is_not_shown() -> None:
    assert "ya29" not in repr(TokenResponse(200, b'{"access_token":"ya29.x"}'))
    account = ServiceAccount.from_info(info())
    assert repr(account) == str(account) == f"<ServiceAccount {EMAIL}>"


# --- the assertion --------------------------------------------------------------------------------------------------


def test_the_assertion() -> None:
    account = ServiceAccount.from_info(info())
    token = account.assertion(NOW)
    head, claims, signature = token.split(b".")
    assert decoded(head) == {"alg": "RS256", "typ": "JWT", "kid": "abc123"}
    assert decoded(claims) == {
        "iss": EMAIL,
        "scope": "https://www.googleapis.com/auth/firebase.messaging",
        "aud": URI,
        "iat": 1_750_000_000,
        "exp": 1_750_003_600,
    }
    raw = base64.urlsafe_b64decode(signature + b"==")
    private_key().public_key().verify(raw, head + b"." + claims, padding.PKCS1v15(), hashes.SHA256())
    assert account.assertion(NOW) == token


def test_the_form() -> None:
    account = ServiceAccount.from_info(info())
    form = parse_qs(account.form(NOW).decode(), strict_parsing=True)
    assert form == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "assertion": [account.assertion(NOW).decode()],
    }
    assert account.form(NOW).startswith(
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="
    )
    other = parse_qs(account.form(NOW, "scope-a scope-b").decode())["assertion"][0]
    assert decoded(other.split(".")[1].encode())["scope"] == "scope-a scope-b"
    assert SCOPE.endswith("firebase.messaging")


async def test_the_exchange() -> None:
    account = ServiceAccount.from_info(info())
    forms: list[bytes] = []

    async def post(form: bytes) -> TokenResponse:
        forms.append(form)
        return TokenResponse(200, b'{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}')

    token = await account.issue(post, NOW)
    assert (token.value, token.expires_in) == (b"Bearer ya29.x", 3599.0)
    assert forms == [account.form(NOW)]


async def test_no_response_is_a_temporary_failure() -> None:
    async def post(form: bytes) -> TokenResponse:
        raise ConnectError("the server refused the connection")

    with pytest.raises(AccessTokenError) as caught:
        await ServiceAccount.from_info(info()).issue(post, NOW)
    assert not caught.value.permanent
    assert "refused the connection" in str(caught.value)


# --- responses ------------------------------------------------------------------------------------------------------


def failure_of(response: TokenResponse) -> AccessTokenError:
    with pytest.raises(AccessTokenError) as caught:
        read_token(response)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (400, "invalid_grant", "Invalid JWT Signature."),
        (400, "invalid_grant", "Invalid JWT: Failed audience check."),
        (400, "invalid_grant", "Invalid grant: account not found"),
        (400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."),
        (400, "invalid_request", "Bad Request"),
        (401, "invalid_client", "The OAuth client was not found."),
        (401, "unauthorized_client", "Unauthorized"),
        (403, "access_denied", "Account restricted"),
        (400, "unsupported_grant_type", "Invalid grant_type"),
        (400, "a_word_of_next_year", ""),
    ],
)
def test_permanent_failures(status: int, error: str, text: str) -> None:
    failure = failure_of(TokenResponse(status, orjson.dumps({"error": error, "error_description": text})))
    assert failure.permanent
    assert failure.reason == error
    assert text in str(failure)
    assert str(status) in str(failure)


@pytest.mark.parametrize(
    ("error", "advice", "clock_wrong"),
    [
        ("invalid_grant", "set this machine's clock: it is 2 h fast", True),
        ("invalid_grant", None, False),
        ("invalid_client", "set this machine's clock: it is 2 h fast", False),
    ],
)
def test_a_refused_assertion_speaks_of_the_clock_where_that_is_wrong(
    error: str, advice: str | None, clock_wrong: bool
) -> None:
    body = orjson.dumps(
        {"error": error, "error_description": "Invalid JWT: Token must be a short-lived token"}
    )
    refusal = failure_of(TokenResponse(400, body, clock_advice=advice))
    assert ("set this machine's clock: it is 2 h fast" in str(refusal)) is clock_wrong
    assert "clock" not in str(refusal) or clock_wrong


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"error":"internal_failure"}'),
        (503, b"<!DOCTYPE html>"),
        (502, b""),
        (429, b'{"error":"rate_limit_exceeded"}'),
        (408, b""),
        (400, b'{"error":"temporarily_unavailable"}'),
        (400, b'{"error":"internal_failure","error_description":"Backend Error"}'),
        (200, b'{"access_token":"t"}'),
        (200, b'{"access_token":"t","expires_in":0}'),
    ],
)
def test_temporary_failures(status: int, body: bytes) -> None:
    failure = failure_of(TokenResponse(status, body, retry_after=7.0 if status >= 400 else None))
    assert not failure.permanent
    assert failure.retry_after == (7.0 if status >= 400 else None)


def test_googles_other_form_of_an_error() -> None:
    body = b'{"error":{"code":403,"message":"The caller\\u0000 may not","status":"PERMISSION_DENIED"}}'
    failure = failure_of(TokenResponse(403, body))
    assert (failure.permanent, failure.reason) == (True, "PERMISSION_DENIED")
    assert "The caller" in str(failure)


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 413])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "an empty body"),
        (b"not json", "a body that is not JSON"),
        (b"[1]", "JSON of another form"),
        (b'{"expires_in":3600}', "JSON of another form"),
        (b'{"error":"not found"}', "JSON of another form"),
        (b'{"error":{"code":404,"message":"Not Found"}}', "JSON of another form"),
        (b'{"error":{"code":"NotFound","status":"no such route"}}', "JSON of another form"),
        (b'{"access_token":"' + b"t" * 100_000 + b'","expires_in":3600}', "JSON of another form"),
        (b"<html><title>Sign in</title>", 'an HTML page, "Sign in"'),
    ],
    ids=["empty", "text", "list", "object", "sentence", "code", "status", "long", "html"],
)
def test_a_response_of_another_server_is_named_as_such(status: int, body: bytes, words: str) -> None:
    """One page among tokens passes; a rejection does not."""
    error = failure_of(TokenResponse(status, body))
    assert (error.permanent, error.reason) == (status >= 400, "UnexpectedResponse")
    assert str(error) == (
        f"this is not a response of the token endpoint (a proxy, a wrong URL?): {status} with {words}"
    )


@given(st.integers(100, 599), st.binary(max_size=200))
def test_no_response_breaks_the_reader(status: int, body: bytes) -> None:
    failure_of(TokenResponse(status, body))


@pytest.mark.slow
@given(
    st.integers(400, 599),
    st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)),
)
def test_no_json_breaks_the_reader(status: int, error: Any) -> None:
    body = json.dumps({"error": error, "error_description": error}).encode()
    failure_of(TokenResponse(status, body))
