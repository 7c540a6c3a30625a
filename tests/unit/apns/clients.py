"""An `ApnsClient` in tests, and a server that answers as told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore.apns.client import ApnsClient
from pushcore.auth.provider_token import ApnsKey
from pushcore.models.apns import Notification
from tests.support.virtual import Answer, connect_to

PRIVATE = ec.generate_private_key(ec.SECP256R1())


def key(**scope: Any) -> ApnsKey:
    return ApnsKey(PRIVATE, key_id="ABC123DEFG", team_id="TEAM123456", **scope)


def client_of(auth: Any = None, **options: Any) -> ApnsClient:
    return ApnsClient(auth or key(), **{"topic": "com.example.app", "url": "https://apns.test", **options})


def push(number: int = 0, **fields: Any) -> Notification:
    return Notification(f"{number:064x}", {"aps": {"alert": "Hi"}}, **fields)


def refused(status: int, reason: str) -> Answer:
    return status, {}, orjson.dumps({"reason": reason})


class Server:
    """Responds with `respond(n)` to the n-th request, and records the header fields of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, respond: Callable[[int], Answer]) -> None:
        self.requests: list[dict[str, str]] = []
        self.respond = respond
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        self.requests.append(fields)
        return self.respond(len(self.requests))
