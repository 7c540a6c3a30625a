"""Accounts and requests to FCM in tests."""

from __future__ import annotations

from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import rsa

from pushcore.auth.service_account import ServiceAccount
from pushcore.fcm.request import FcmRequestBuilder, LegacyRequestBuilder
from pushcore.http2.exchange import Exchange
from pushcore.models.fcm import Message
from pushcore.requests import build_one
from pushcore.results import Result, Verdict

FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
TOKEN = f"{FID}:APA91b" + "x" * 134
APNS = "ab" * 32
KEY = rsa.generate_private_key(65537, 2048)


def account(project_id: str | None = "my-project") -> ServiceAccount:
    return ServiceAccount(
        KEY,
        client_email="pusher@my-project.iam.gserviceaccount.com",
        token_uri="https://oauth2.googleapis.com/token",
        project_id=project_id,
    )


def accepted(number: int = 1) -> bytes:
    """Google's response to an accepted message."""
    return b'{\n  "name": "projects/my-project/messages/0:%d"\n}\n' % number


def requests() -> FcmRequestBuilder:
    return FcmRequestBuilder("fcm.googleapis.com", "my-project")


def build(push: Any, builder: FcmRequestBuilder | LegacyRequestBuilder | None = None) -> Exchange | Result:
    return build_one(builder or requests(), push, lambda finished: None, 10.0)


def sent(push: Any, builder: FcmRequestBuilder | LegacyRequestBuilder | None = None) -> Any:
    """The JSON of a push that can be sent."""
    exchange = build(push, builder)
    assert isinstance(exchange, Exchange), exchange
    return orjson.loads(exchange.body)


def refused(push: Any, builder: FcmRequestBuilder | LegacyRequestBuilder | None = None) -> str:
    """Why a push cannot be sent."""
    result = build(push, builder)
    assert isinstance(result, Result), result.body
    assert result.push is push
    assert (result.verdict, result.status, result.attempts) == (Verdict.INVALID, None, 0)
    assert result.reason
    assert isinstance(result.detail, str)
    assert len(result.detail) < 400
    return result.detail


def path_of(exchange: Exchange) -> str:
    return (exchange.template.path + exchange.path).decode()


def to(**fields: Any) -> Message:
    return Message(token=TOKEN, **fields)
