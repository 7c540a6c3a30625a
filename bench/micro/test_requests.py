"""From a push to a request: payloads, checks, tokens of both providers."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.harness.providers import message, payload
from pushcore import ApnsKey, Notification, ServiceAccount
from pushcore.apns.request import ApnsRequestBuilder
from pushcore.fcm.request import FcmRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.aps import Alert, Aps
from pushcore.models.expo import to_notification
from pushcore.models.tokens import recognise
from pushcore.requests import END, RequestBuilder, build_one

BATCH = 1000
DEVICE = "740f4707bebcf74f9b7c25d48e3358945f6aa01da5ddb387462c7eaf61bb78ad"
NOW = 1_700_000_000.0


def sink(finished: list[Exchange]) -> None:
    """A sink for requests that are never sent here."""


def made_of(requests: RequestBuilder, pushes: list[Any]) -> list[Exchange]:
    """The requests made of a burst of pushes."""
    made: list[Exchange] = []
    assert requests.build(pushes, type(pushes[0]), sink, 60.0, made, []) is END
    return made


@pytest.fixture
def apns() -> ApnsRequestBuilder:
    """Requests to APNs with a topic of the client's."""
    return ApnsRequestBuilder("api.push.apple.com", "com.example.app", token_auth=True)


def test_a_thousand_apns_requests_from_dicts(benchmark: Any, apns: ApnsRequestBuilder) -> None:
    """Each push has its own payload."""
    pushes = [Notification(f"{number:064x}", payload(number)) for number in range(BATCH)]
    made = benchmark(made_of, apns, pushes)
    assert len(made) == BATCH


def test_a_thousand_apns_requests_from_ready_bytes(benchmark: Any, apns: ApnsRequestBuilder) -> None:
    """One payload, encoded once."""
    body = orjson.dumps(payload(0))
    pushes = [Notification(f"{number:064x}", body) for number in range(BATCH)]
    made = benchmark(made_of, apns, pushes)
    assert len(made) == BATCH


def test_a_thousand_apns_requests_with_ids_and_collapse_ids(benchmark: Any, apns: ApnsRequestBuilder) -> None:
    """Each push has its own id and collapse id."""
    pushes = [
        Notification(
            f"{number:064x}",
            payload(number),
            apns_id=f"eabeae54-14a8-11e5-b60b-{number:012x}",
            collapse_id=f"order-{number}",
            expiration=1_700_000_000,
        )
        for number in range(BATCH)
    ]
    made = benchmark(made_of, apns, pushes)
    assert len(made) == BATCH


def test_a_thousand_fcm_requests(benchmark: Any) -> None:
    """Each message made anew."""
    requests = FcmRequestBuilder("fcm.googleapis.com", "fake-project")
    pushes = [message(number) for number in range(BATCH)]
    made = benchmark(made_of, requests, pushes)
    assert len(made) == BATCH


def test_a_thousand_fcm_requests_whose_parts_differ(benchmark: Any) -> None:
    """Each device has its own APNs payload and collapse key, so nothing can be cached."""
    requests = FcmRequestBuilder("fcm.googleapis.com", "fake-project")
    pushes = [message(number) for number in range(BATCH)]
    for number, push in enumerate(pushes):
        push.apns = {"payload": {"aps": {"badge": number}}}
        push.android = {"priority": "HIGH", "collapse_key": f"order-{number}"}
    made = benchmark(made_of, requests, pushes)
    assert len(made) == BATCH


def test_a_typed_payload(benchmark: Any, apns: ApnsRequestBuilder) -> None:
    """`Aps` to JSON."""
    aps = Aps(alert=Alert(title="Order shipped", body="It arrives on Tuesday."), sound="default", badge=3)
    push = Notification(DEVICE, aps)
    assert isinstance(benchmark(build_one, apns, push, sink, 60.0), Exchange)


def test_an_expo_message(benchmark: Any) -> None:
    """Expo's format to a notification."""
    source = {"to": DEVICE, "title": "Order shipped", "body": "It arrives on Tuesday.", "data": {"order": 1}}
    assert benchmark(to_notification, source, DEVICE).token == DEVICE


def test_telling_a_token_by_its_shape(benchmark: Any) -> None:
    """Whether a token is APNs' or FCM's."""
    assert benchmark(recognise, DEVICE).platform == "apns"


def test_signing_a_provider_token(benchmark: Any) -> None:
    """ES256, once for half an hour."""
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    slots = itertools.count(NOW, 1800.0)
    assert benchmark(lambda: key.token(next(slots))).value.startswith(b"bearer ")


def test_looking_up_a_provider_token(benchmark: Any) -> None:
    """For each connection and tick."""
    key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
    assert benchmark(key.token, NOW) is key.token(NOW)


def test_signing_an_assertion(benchmark: Any) -> None:
    """RS256, once for an hour."""
    key = rsa.generate_private_key(65537, 2048)
    account = ServiceAccount.from_info(
        {
            "type": "service_account",
            "project_id": "fake-project",
            "private_key_id": "a" * 40,
            "private_key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            "client_email": "pusher@fake-project.iam.gserviceaccount.com",
            "token_uri": "https://127.0.0.1:1/token",
        }
    )
    assert benchmark(account.assertion, NOW).count(b".") == 2
