"""Google's own client, firebase-admin for Python, against the fake FCM: does it understand it as it does Google?

Its URLs are replaced, its two HTTP libraries are told whom to trust, and its waits between retries are noted instead of
waited for; all else is as its users have it, the number of its retries too.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import firebase_admin  # type: ignore[import-untyped]  # it has no types
import google.auth.exceptions
import pytest
from firebase_admin import credentials, exceptions, messaging

from fakeservers import Certificates, FakeFcm, fated_fid, fated_registration
from fakeservers.responses.fcm import BY_FATE

pytestmark = [
    pytest.mark.filterwarnings("ignore:Message.token is deprecated"),
    pytest.mark.filterwarnings("ignore:.*_legacy is deprecated"),
]

FID = "cA_-" + "b" * 18
TOKEN = FID + ":APA91b" + "x" * 134
RETRIES = 4  # of firebase-admin, on 500, on 503 and (over requests) on a 429 with Retry-After
T = TypeVar("T")

UNDERSTOOD: dict[str, tuple[type[exceptions.FirebaseError], str, int]] = {
    # fate: exception, a word of its message, requests that firebase-admin makes of it
    "InvalidToken": (exceptions.InvalidArgumentError, "invalid argument", 1),
    "NotARegistrationToken": (exceptions.InvalidArgumentError, "not a valid FCM registration token", 1),
    "TokenByTextAndField": (exceptions.InvalidArgumentError, "not a valid FCM registration token", 1),
    "ApnsDisabled": (exceptions.InvalidArgumentError, "APNs device token is disabled", 1),
    "TooBig": (exceptions.InvalidArgumentError, "Android message is too big", 1),
    "NoRecipient": (exceptions.InvalidArgumentError, "Recipient of the message is not set", 1),
    "WrongType": (exceptions.InvalidArgumentError, "Invalid value at 'message.data[0].value'", 1),
    "UnknownName": (exceptions.InvalidArgumentError, 'Unknown name "key"', 1),
    "ApnsKeyType": (exceptions.InvalidArgumentError, "invalid argument", 1),
    "InvalidDataKey": (exceptions.InvalidArgumentError, "Invalid data payload key", 1),
    "InvalidTtl": (exceptions.InvalidArgumentError, "invalid argument", 1),
    "InvalidPackageName": (exceptions.InvalidArgumentError, "invalid argument", 1),
    "InvalidArgument": (exceptions.InvalidArgumentError, "invalid argument", 1),
    # google-auth fetches a new access token on any 401, twice.
    "AccessTokenExpired": (exceptions.UnauthenticatedError, "invalid authentication credentials", 3),
    "ThirdPartyAuth": (messaging.ThirdPartyAuthError, "missing required authentication credential", 3),
    "ApnsInvalidProviderToken": (
        messaging.ThirdPartyAuthError,
        "missing required authentication credential",
        3,
    ),
    "ApnsBadEnvironmentKey": (messaging.ThirdPartyAuthError, "missing required authentication credential", 3),
    "ApnsAuth": (messaging.ThirdPartyAuthError, "Auth error from APNS", 3),
    "SenderIdMismatch": (messaging.SenderIdMismatchError, "SenderId mismatch", 1),
    "PermissionDenied": (exceptions.PermissionDeniedError, "cloudmessaging.messages.create", 1),
    "ServiceDisabled": (exceptions.PermissionDeniedError, "it is disabled", 1),
    "Unregistered": (messaging.UnregisteredError, "Requested entity was not found", 1),
    "UnregisteredApns": (messaging.UnregisteredError, "Requested entity was not found", 1),
    "HtmlNotFound": (exceptions.NotFoundError, "Unexpected HTTP response with status: 404", 1),
    "ProjectNotFound": (exceptions.NotFoundError, "Requested entity was not found", 1),
    "QuotaExceeded": (messaging.QuotaExceededError, "Quota exceeded", 1 + RETRIES),
    "DeviceRateExceeded": (messaging.QuotaExceededError, "Device message rate", 1 + RETRIES),
    "TopicQuotaExceeded": (messaging.QuotaExceededError, "Topic quota exceeded", 1 + RETRIES),
    "TopicRateExceeded": (messaging.QuotaExceededError, "Topic message rate", 1 + RETRIES),
    "QuotaWithoutRetryAfter": (messaging.QuotaExceededError, "Quota exceeded", 1),
    "Internal": (exceptions.InternalError, "Internal error encountered", 1 + RETRIES),
    "InternalTimeout": (exceptions.InternalError, "Internal error encountered", 1 + RETRIES),
    "UnspecifiedError": (exceptions.UnknownError, "Unknown error", 1 + RETRIES),
    "EmptyBody": (exceptions.InternalError, "Unexpected HTTP response with status: 500", 1 + RETRIES),
    "BadGateway": (exceptions.UnknownError, "Please try again in 30 seconds", 1),
    "Unavailable": (exceptions.UnavailableError, "currently unavailable", 1 + RETRIES),
    "UnavailableWithoutRetryAfter": (exceptions.UnavailableError, "currently unavailable", 1 + RETRIES),
    "UnavailableUntilDate": (exceptions.UnavailableError, "currently unavailable", 1 + RETRIES),
}


class Pointed:
    """firebase-admin, pointed at a fake. Its calls block, so they run in a thread beside the fake's loop."""

    def __init__(self, fake: FakeFcm, app: firebase_admin.App, waits: list[float]) -> None:
        self.fake = fake
        self.app = app
        self.waits = waits

    async def call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await asyncio.to_thread(function, *arguments, app=self.app, **options)

    async def send(self, token: str = TOKEN, **options: Any) -> str:
        return await self.call(messaging.send, messaging.Message(token=token, **options))

    async def refused(self, token: str = TOKEN, **options: Any) -> tuple[type[Exception], str, int]:
        """The exception's type, its message and the HTTP status behind it; the exception itself holds a socket."""
        try:
            await self.send(token, **options)
        except exceptions.FirebaseError as error:
            return (
                type(error),
                str(error),
                error.http_response.status_code,
            )  # AttributeError: nothing answered
        raise AssertionError("it was sent")


@contextlib.asynccontextmanager
async def pointed(
    monkeypatch: pytest.MonkeyPatch, certs: Certificates, **options: Any
) -> AsyncIterator[Pointed]:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async with FakeFcm(certs=certs) as fake:
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):  # requests and httpx, google-auth's session too
            monkeypatch.setenv(name, fake.ca_file)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.setenv(name, "127.0.0.1")
        monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=waits.append, time=time.time))
        monkeypatch.setattr("firebase_admin._retry.asyncio", SimpleNamespace(sleep=wait))
        service = messaging._MessagingService
        monkeypatch.setattr(service, "FCM_URL", fake.url + "/v1/projects/{0}/messages:send")
        monkeypatch.setattr(service, "IID_URL", fake.url)
        app = firebase_admin.initialize_app(
            credentials.Certificate(fake.service_account_file),
            {"httpTimeout": 10, **options},
            name=fake.url,
        )
        instance = messaging._get_messaging_service(app)
        instance._fcm_topic_url = f"{fake.url}/v1/projects/{app.project_id}/registrations"
        try:
            yield Pointed(fake, app, waits)
        finally:
            instance._client.close()
            await asyncio.to_thread(firebase_admin.delete_app, app)  # it runs a loop of its own


def test_every_error_of_the_fake_is_looked_at() -> None:
    assert UNDERSTOOD.keys() == BY_FATE.keys()


@pytest.mark.parametrize("fate", UNDERSTOOD)
async def test_each_error_has_its_exception(
    fate: str, monkeypatch: pytest.MonkeyPatch, certs: Certificates
) -> None:
    expected, words, requests = UNDERSTOOD[fate]
    async with pointed(monkeypatch, certs) as admin:
        raised, text, status = await admin.refused(
            fated_registration(fate, ms=1 if fate == "InternalTimeout" else 0)
        )
        assert raised is expected
        assert words in text
        assert sum(admin.fake.counts.values()) - admin.fake.token_requests == requests
        assert admin.fake.token_requests == (3 if status == 401 else 1)
        if fate in ("Unavailable", "QuotaExceeded"):
            assert admin.waits == [60] * RETRIES  # it obeys Retry-After
        elif fate == "UnavailableUntilDate":
            assert all(55 < wait <= 60 for wait in admin.waits)
            assert len(admin.waits) == RETRIES


@pytest.mark.parametrize("fate", UNDERSTOOD)
async def test_each_error_has_its_exception_over_http2(
    fate: str, monkeypatch: pytest.MonkeyPatch, certs: Certificates
) -> None:
    """`send_each_async` is firebase-admin's way over httpx and h2."""
    expected, words, _ = UNDERSTOOD[fate]
    async with pointed(monkeypatch, certs) as admin:
        token = fated_registration(fate, ms=1 if fate == "InternalTimeout" else 0)
        response = await asyncio.to_thread(
            asyncio.run, send_each_async(admin, [messaging.Message(token=token)])
        )
        assert response.failure_count == 1
        assert type(response.responses[0].exception) is expected
        assert words in str(response.responses[0].exception)
        versions = {request.path.partition("?")[0][:4]: request.version for request in admin.fake.received}
        assert versions == {"/tok": "1.1", "/v1/": "2"}


async def send_each_async(admin: Pointed, messages: list[messaging.Message]) -> messaging.BatchResponse:
    service = messaging._get_messaging_service(admin.app)
    try:
        return await messaging.send_each_async(messages, app=admin.app)
    finally:
        await service._async_client.async_client.aclose()


@pytest.mark.parametrize("fate", ["RefusedStream", "InternalReset", "Cut", "GoAwayBefore"])
async def test_a_cut_connection(fate: str, monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        with pytest.raises(exceptions.UnavailableError, match="Failed to establish a connection"):
            await admin.send(fated_registration(fate))
        assert admin.fake.counts[0, fate] == 2  # it tries a second time


async def test_no_response(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs, httpTimeout=0.5) as admin:
        with pytest.raises(exceptions.UnavailableError, match="Read timed out"):
            await admin.send(fated_registration("Stall"))
        assert admin.fake.counts[0, "Stall"] == 2


async def test_slow_responses_and_those_of_a_closing_connection_count(
    monkeypatch: pytest.MonkeyPatch, certs: Certificates
) -> None:
    async with pointed(monkeypatch, certs) as admin:
        for fate in ("Slow", "GoAway", "Canonical"):
            name = await admin.send(fated_registration(fate, ms=20))
            assert name.startswith("projects/fake-project/messages/")


# What is wrong without a fate


async def test_another_project(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs, projectId="another") as admin:
        assert (await admin.refused())[0] is exceptions.NotFoundError


async def test_a_malformed_token_is_rejected(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        raised, text, _ = await admin.refused("ab" * 32)
        assert raised is exceptions.InvalidArgumentError
        assert "not a valid FCM registration token" in text


async def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        assert (await admin.refused(data={"a": "x" * 4096}))[0] is exceptions.InvalidArgumentError


async def test_a_reserved_key(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        raised, text, _ = await admin.refused(data={"from": "x"})
        assert raised is exceptions.InvalidArgumentError
        assert "Invalid data payload key: from" in text


async def test_an_account_that_is_gone(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        admin.fake.oauth.error = "invalid_grant"
        with pytest.raises(google.auth.exceptions.RefreshError, match="account not found"):
            await admin.send()
        assert admin.fake.token_requests == 1
        admin.fake.oauth.error = ""
        assert await admin.send()


async def test_an_access_token_that_expires(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    """google-auth fetches a new one on the 401 and sends again."""
    async with pointed(monkeypatch, certs) as admin:
        await admin.send()
        admin.fake.oauth.expire_all()
        await admin.send()
        assert admin.fake.token_requests == 2
        assert admin.fake.counts[401, "ACCESS_TOKEN_EXPIRED"] == 1


# What it sends is taken


async def test_the_whole_message_of_its_own(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    light = messaging.LightSettings(
        color="#00ff7f80", light_on_duration_millis=300, light_off_duration_millis=1500
    )
    android = messaging.AndroidConfig(
        collapse_key="c",
        priority="high",
        ttl=datetime.timedelta(hours=1, milliseconds=5),
        restricted_package_name="com.example",
        data={"a": "b"},
        direct_boot_ok=True,
        fcm_options=messaging.AndroidFCMOptions("label"),
        notification=messaging.AndroidNotification(
            title="t",
            body="b",
            icon="i",
            color="#aabbcc",
            sound="s",
            tag="t",
            click_action="c",
            body_loc_key="k",
            body_loc_args=["a"],
            title_loc_key="k",
            title_loc_args=["a"],
            channel_id="c",
            image="https://example.com/i.png",
            ticker="t",
            sticky=True,
            event_timestamp=datetime.datetime.now(datetime.UTC),
            local_only=True,
            priority="max",
            vibrate_timings_millis=[100, 1500],
            default_vibrate_timings=False,
            default_sound=False,
            light_settings=light,
            default_light_settings=False,
            visibility="secret",
            notification_count=3,
            proxy="if_priority_lowered",
        ),
    )
    aps = messaging.Aps(
        alert=messaging.ApsAlert(title="t", subtitle="s", body="b", loc_key="k", loc_args=["a"]),
        badge=3,
        sound=messaging.CriticalSound("s", critical=True, volume=0.5),
        content_available=True,
        mutable_content=True,
        category="c",
        thread_id="t",
        custom_data={"own": {"deep": [1, None]}},
    )
    apns = messaging.APNSConfig(
        headers={"apns-priority": "10"},
        payload=messaging.APNSPayload(aps, own="x"),
        fcm_options=messaging.APNSFCMOptions("label", "https://example.com/i.png"),
    )
    webpush = messaging.WebpushConfig(
        headers={"TTL": "60"},
        data={"a": "b"},
        notification=messaging.WebpushNotification(
            title="t", actions=[messaging.WebpushNotificationAction("a", "t")], vibrate=[1, 2], silent=True
        ),
        fcm_options=messaging.WebpushFCMOptions("https://example.com"),
    )
    async with pointed(monkeypatch, certs) as admin:
        name = await admin.send(
            data={"a": "b"},
            notification=messaging.Notification("t", "b", "https://example.com/i.png"),
            android=android,
            apns=apns,
            webpush=webpush,
            fcm_options=messaging.FCMOptions("label"),
        )
        assert name.startswith("projects/fake-project/messages/0:")
        headers = admin.fake.received[-1].headers
        assert headers["x-firebase-client"].startswith("fire-admin-python/")


async def test_all_targets(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        for target in ({"topic": "news"}, {"condition": "'a' in topics || 'b' in topics"}, {"fid": FID}):
            message = messaging.Message(**target, data={"a": "b"})
            assert await admin.call(messaging.send, message)
        name = await admin.call(messaging.send, messaging.Message(token=TOKEN), True)
        assert name == "projects/fake-project/messages/fake_message_id"


async def test_many_at_once(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    tokens = [TOKEN, fated_registration("Unregistered"), fated_registration("QuotaExceeded"), TOKEN]
    async with pointed(monkeypatch, certs) as admin:
        response = await admin.call(messaging.send_each, [messaging.Message(token=token) for token in tokens])
        assert (response.success_count, response.failure_count) == (2, 2)
        assert [type(response.exception) for response in response.responses] == [
            type(None),
            messaging.UnregisteredError,
            messaging.QuotaExceededError,
            type(None),
        ]
        del response  # its exceptions hold sockets


async def test_many_at_once_over_http2(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    async with pointed(monkeypatch, certs) as admin:
        messages = [messaging.Message(token=TOKEN, data={"n": str(number)}) for number in range(90)]
        response = await asyncio.to_thread(asyncio.run, send_each_async(admin, messages))
        assert response.success_count == 90
        assert len({response.message_id for response in response.responses}) == 90
        assert {request.version for request in admin.fake.received if request.path != "/token"} == {"2"}


# Topics


async def test_topics(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    tokens = [TOKEN, fated_fid("Unregistered"), fated_fid("InvalidToken"), fated_fid("QuotaExceeded")]
    async with pointed(monkeypatch, certs) as admin:
        for _ in range(2):  # the second time there is a 409, which counts as success
            response = await admin.call(messaging.subscribe_to_topic, tokens, "news")
            assert (response.success_count, response.failure_count) == (1, 3)
            assert [(error.index, error.reason) for error in response.errors] == [
                (1, "UNREGISTERED"),
                (2, "INVALID_ARGUMENT"),
                (3, "QUOTA_EXCEEDED"),
            ]
        assert admin.fake.counts[409, "ALREADY_EXISTS"] == 1
        assert list(admin.fake.subscriptions.topics(TOKEN)) == ["news"]
        response = await admin.call(messaging.unsubscribe_from_topic, TOKEN, "news")
        assert response.success_count == 1
        assert not admin.fake.subscriptions.topics(TOKEN)


async def test_topics_by_the_instance_id_api(monkeypatch: pytest.MonkeyPatch, certs: Certificates) -> None:
    tokens = [TOKEN, fated_registration("Unregistered"), "nonsense"]
    async with pointed(monkeypatch, certs) as admin:
        response = await admin.call(messaging.subscribe_to_topic_legacy, tokens, "news")
        assert [(error.index, error.reason) for error in response.errors] == [
            (1, "NOT_FOUND"),
            (2, "INVALID_ARGUMENT"),
        ]
        assert list(admin.fake.subscriptions.topics(TOKEN)) == ["news"]
        response = await admin.call(messaging.unsubscribe_from_topic_legacy, TOKEN, "news")
        assert response.success_count == 1
        assert not admin.fake.subscriptions.topics(TOKEN)
