"""google-auth in the place of a service account: refreshed in a thread, within a time, and its errors told apart."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import google.auth.credentials
import google.auth.exceptions
import google.oauth2.credentials
import google.oauth2.service_account
import pytest

from pushcore import FcmClient
from pushcore.auth.google_credentials import GoogleCredentials, is_google, read_credentials
from pushcore.auth.service_account import ServiceAccount
from pushcore.errors import AccessTokenError, ConfigurationError
from tests.support.key_material import account, leaks, materials, told

exceptions: Any = google.auth.exceptions


class Scripted(google.auth.credentials.Credentials):
    """Credentials that do what the test says when they are refreshed."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # google-auth has no types
        self.work = work
        self.threads: list[threading.Thread] = []
        self.count = 0

    def refresh(self, request: Any) -> None:
        self.threads.append(threading.current_thread())
        self.work(request)
        self.count += 1
        self.token = f"ya29.{self.count}"
        self.expiry = in_utc(3600)


def in_utc(seconds: float) -> datetime.datetime:
    """Naive, as google-auth has it."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).replace(tzinfo=None)


def nothing(request: Any) -> None:
    pass


def until(gate: threading.Event) -> Callable[[Any], None]:
    def work(request: Any) -> None:
        gate.wait(20)

    return work


def raising(error: BaseException) -> Callable[[Any], None]:
    def work(request: Any) -> None:
        raise error

    return work


async def test_it_refreshes_in_a_thread_and_knows_the_end_of_the_token() -> None:
    credentials = Scripted(nothing)
    issuer = GoogleCredentials(credentials)
    token = await issuer.issue()
    assert token.value == b"Bearer ya29.1"
    assert 3590 < token.expires_in <= 3600
    assert credentials.threads[0] is not threading.main_thread()
    assert credentials.threads[0].daemon  # no hanging refresh keeps the process alive
    assert (await issuer.issue()).value == b"Bearer ya29.2"


async def test_a_token_that_is_there_already_is_used_once() -> None:
    credentials = Scripted(nothing)
    credentials.token, credentials.expiry = "ya29.old", in_utc(1800)
    issuer = GoogleCredentials(credentials)
    token = await issuer.issue()
    assert token.value == b"Bearer ya29.old"
    assert 1790 < token.expires_in <= 1800
    assert credentials.count == 0
    assert (await issuer.issue()).value == b"Bearer ya29.1"  # whoever asks again has no use for that one


async def test_a_token_that_never_ends_lives_a_day() -> None:
    credentials = Scripted(nothing)
    credentials.token = "ya29.for-ever"
    assert (await GoogleCredentials(credentials).issue()).expires_in == 86_400


async def test_an_expired_token_is_not_used() -> None:
    credentials = Scripted(nothing)
    credentials.token, credentials.expiry = "ya29.old", in_utc(-10)
    assert (await GoogleCredentials(credentials).issue()).value == b"Bearer ya29.1"


async def test_a_refresh_that_hangs_is_left_behind_and_none_is_started_beside_it() -> None:
    gate = threading.Event()
    credentials = Scripted(until(gate))
    issuer = GoogleCredentials(credentials, timeout=0.05)
    try:
        for words in ("within 0.05 s", "has not ended"):
            with pytest.raises(AccessTokenError, match=words) as caught:
                await issuer.issue()
            assert not caught.value.permanent
        assert len(credentials.threads) == 1
    finally:
        gate.set()
    thread = credentials.threads[0]
    thread.join(5)
    assert not thread.is_alive()
    await asyncio.sleep(0)
    assert (await issuer.issue()).value == b"Bearer ya29.1"  # what came too late for its caller is still good


async def test_cancelled_while_it_refreshes() -> None:
    gate = threading.Event()
    credentials = Scripted(until(gate))
    task = asyncio.create_task(GoogleCredentials(credentials).issue())
    while not credentials.threads:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    credentials.threads[0].join(5)
    assert not credentials.threads[0].is_alive()


def test_the_loop_may_be_closed_before_the_thread_is_back() -> None:
    gate = threading.Event()
    credentials = Scripted(until(gate))

    async def main() -> None:
        with pytest.raises(AccessTokenError):
            await GoogleCredentials(credentials, timeout=0.01).issue()

    begin = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - begin < 10  # it waits for no thread
    gate.set()
    credentials.threads[0].join(5)
    assert not credentials.threads[0].is_alive()


@pytest.mark.parametrize(
    ("error", "permanent", "reason"),
    [
        (exceptions.RefreshError("('invalid_grant: x')", {"error": "invalid_grant"}), True, "invalid_grant"),
        (exceptions.RefreshError("no", retryable=True), False, None),
        (exceptions.TransportError("connection refused"), False, None),
        (exceptions.RefreshError(exceptions.TransportError("metadata server down")), False, None),
        (exceptions.DefaultCredentialsError("no credentials"), True, None),
        (exceptions.TimeoutError("late"), False, None),
        (ConnectionResetError("reset"), False, None),
        (ValueError("bug"), True, None),
        (SystemExit("no"), True, None),
        (
            exceptions.RefreshError("No access token in response.", {"id_token": "a secret", "error": 5}),
            True,
            None,
        ),
    ],
)
async def test_errors_are_permanent_or_temporary(
    error: BaseException, permanent: bool, reason: str | None
) -> None:
    with pytest.raises(AccessTokenError) as caught:
        await GoogleCredentials(Scripted(raising(error))).issue()
    assert (caught.value.permanent, caught.value.reason) == (permanent, reason)
    assert type(error).__name__ in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "a secret" not in str(caught.value)


async def test_each_call_has_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    class Recorder:
        def __init__(self) -> None:
            self.session = self

        def __call__(self, url: str, **options: Any) -> None:
            calls.append({"url": url, **options})

        def close(self) -> None:
            calls.append({"closed": True})

    def work(request: Any) -> None:
        request("https://one.example", method="POST", body=b"x", headers={"a": "b"}, timeout=120)
        request("https://two.example", timeout=0.5)
        request("https://three.example")

    monkeypatch.setattr("google.auth.transport.requests.Request", Recorder)
    await GoogleCredentials(Scripted(work), ca_file="ca.pem", timeout=5.0).issue()
    assert [call.get("url") for call in calls] == [
        "https://one.example",
        "https://two.example",
        "https://three.example",
        None,
    ]
    assert all(0 < call["timeout"] <= 5.0 for call in calls[:3])
    assert calls[1]["timeout"] == 0.5
    assert (calls[0]["method"], calls[0]["body"], calls[0]["headers"]) == ("POST", b"x", {"a": "b"})
    assert {call["verify"] for call in calls[:3]} == {"ca.pem"}
    assert calls[3] == {"closed": True}


TOKEN_URL = "https://sts.example/token"
METADATA_URL = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"
GOOGLES = {"Metadata-Flavor": "Google"}


@pytest.mark.parametrize(
    ("method", "url", "status", "fields", "body", "permanent", "reason", "words"),
    [
        (
            "POST",
            TOKEN_URL,
            200,
            {},
            b"<html><title>Sign in</title>",
            False,
            "UnexpectedResponse",
            "this is not",
        ),
        ("POST", TOKEN_URL, 403, {}, b"<html>", True, "UnexpectedResponse", "this is not"),
        ("POST", TOKEN_URL, 404, {}, b'{"error":"not found"}', True, "UnexpectedResponse", "this is not"),
        ("POST", TOKEN_URL, 503, {}, b"", False, None, "503 with an empty body: a response of a gateway"),
        (
            "POST",
            TOKEN_URL,
            503,
            {},
            b'{"error":"invalid_request"}',
            False,
            "invalid_request",
            "responded 503",
        ),
        ("POST", TOKEN_URL, 400, {}, b'{"error":"invalid_grant"}', True, "invalid_grant", "responded 400"),
        (
            "POST",
            TOKEN_URL,
            200,
            {},
            b'{"accessToken":"x","expireTime":"y"}',
            True,
            None,
            "google-auth's own",
        ),
        ("POST", TOKEN_URL, 200, {}, b'{"access_token":"x","expires_in":9}', True, None, "google-auth's own"),
        ("GET", METADATA_URL, 200, {}, b"<html>", False, "UnexpectedResponse", "of the metadata server"),
        ("GET", METADATA_URL, 404, {}, b"<html>", True, "UnexpectedResponse", "of the metadata server"),
        ("GET", METADATA_URL, 404, GOOGLES, b"<html>", True, None, "google-auth's own"),
        ("GET", "https://subject.example/token", 200, {}, b"x", True, None, "google-auth's own"),
    ],
)
async def test_a_response_of_another_server_is_named_as_such(
    method: str,
    url: str,
    status: int,
    fields: dict[str, str],
    body: bytes,
    permanent: bool,
    reason: str | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """google-auth reads an HTML page as JSON, repeats it in its error, and calls the outage of some endpoints permanent."""

    class Response:
        def __init__(self) -> None:
            self.status, self.data, self.headers = status, body, fields
            self.session = self

        def __call__(self, url: str, **options: Any) -> Response:
            return self

        def close(self) -> None:
            pass

    def work(request: Any) -> None:
        request(url, method=method)
        raise exceptions.RefreshError("google-auth's own <html>")

    monkeypatch.setattr("google.auth.transport.requests.Request", Response)
    with pytest.raises(AccessTokenError) as caught:
        await GoogleCredentials(Scripted(work)).issue()
    assert (caught.value.permanent, caught.value.reason) == (permanent, reason)
    assert words in str(caught.value)
    assert ("<html>" in str(caught.value)) is (words == "google-auth's own")


async def test_calls_without_end_come_to_one() -> None:
    def work(request: Any) -> None:
        time.sleep(0.02)
        request("https://127.0.0.1:1")

    issuer = GoogleCredentials(Scripted(work), timeout=0.01)
    with pytest.raises(AccessTokenError):
        await issuer.issue()
    assert issuer._thread is not None
    issuer._thread.join(5)
    assert not issuer._thread.is_alive()


def test_scopes_are_added_where_they_are_needed() -> None:
    class Scoped(Scripted, google.auth.credentials.Scoped):
        requires_scopes = True
        scopes_set: Any = None

        def with_scopes(self, scopes: Any, default_scopes: Any = None) -> Scoped:
            scoped = Scoped(nothing)
            scoped.scopes_set = scopes
            return scoped

    issuer = GoogleCredentials(Scoped(nothing))
    assert issuer._credentials.scopes_set == ["https://www.googleapis.com/auth/firebase.messaging"]


def test_a_client_accepts_google_credentials() -> None:
    class WithProject(Scripted):
        project_id = "my-project"

    assert is_google(Scripted(nothing))
    assert not is_google("credentials")
    client = FcmClient(WithProject(nothing))
    assert client._dispatcher.requests.project_id == "my-project"
    assert client._dispatcher.requests.extra_fields == ()
    with pytest.raises(ConfigurationError, match="project_id must be given"):
        FcmClient(Scripted(nothing))
    user = google.oauth2.credentials.Credentials("ya29.secret", quota_project_id="payer")  # type: ignore[no-untyped-call]  # google-auth has no types
    client = FcmClient(user, project_id="my-project")
    assert client._dispatcher.requests.extra_fields == ((b"x-goog-user-project", b"payer"),)
    assert "secret" not in repr(client._dispatcher._account)


# --- files of other types than a service account's


def test_a_service_account_needs_no_google_auth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    credentials = read_credentials(materials()["service account"])
    assert isinstance(credentials, ServiceAccount)
    assert credentials.project_id == "my-project"


def other_credentials(kind: str) -> dict[str, Any]:
    """A credentials file of this type."""
    user: dict[str, Any] = json.loads(materials()["authorized user"])
    if kind == "authorized_user":
        return user
    if kind == "impersonated_service_account":
        url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.example:generateAccessToken"
        return {"type": kind, "service_account_impersonation_url": url, "source_credentials": user}
    return {
        "type": kind,
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://sts.googleapis.com/v1/token",
        "credential_source": {"file": "/nonexistent"},
    }


@pytest.mark.parametrize("kind", ["authorized_user", "external_account", "impersonated_service_account"])
def test_other_types_are_read_by_google_auth(kind: str) -> None:
    text = json.dumps(other_credentials(kind))
    for source in (text, text.encode(), base64.b64encode(text.encode()).decode(), f"\ufeff{text}\n"):
        credentials = read_credentials(source)
        assert is_google(credentials)
        assert FcmClient(credentials, project_id="my-project").project_id == "my-project"
        assert leaks(text, f"{GoogleCredentials(credentials)!r}") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"type": "authorized_user", "refresh_token": None}, "cannot be used by google-auth"),
        (
            {"type": "external_account"},
            'holds credentials of the type "external_account", which cannot be used by',
        ),
        ({"type": "impersonated_service_account"}, "cannot be used by google-auth"),
        ({"type": "gdch_service_account"}, "cannot be used by google-auth"),
        ({"type": ["authorized_user"]}, 'has no "type"'),
    ],
)
def test_unusable_google_credentials_are_named(changes: dict[str, Any], words: str) -> None:
    info = {**account(), **changes}
    text = json.dumps({name: value for name, value in info.items() if value is not None})
    with pytest.raises(ConfigurationError) as caught:
        read_credentials(text, name="--fcm-service-account")
    assert str(caught.value).startswith("--fcm-service-account ")
    assert words in str(caught.value)
    assert leaks(str(info["private_key"]), told(caught.value)) is None


def test_without_google_auth_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(ConfigurationError, match=r'pip install "pushcore\[google-auth\]"'):
        read_credentials(materials()["authorized user"])
