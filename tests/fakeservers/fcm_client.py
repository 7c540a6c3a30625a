"""What the tests of the fake FCM share: an h2 client that notes what came in which order, requests, assertions, curl."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any, Self

import h2.events
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fakeservers import FakeFcm
from fakeservers.fcm.oauth import GRANT_TYPE, MESSAGING_SCOPE
from tests.fakeservers.client import Client, Reply

FID = "cA_-" + "b" * 18
TOKEN = FID + ":APA91b" + "x" * 134
FORM = "application/x-www-form-urlencoded"

Headers = list[tuple[str, str]]


class Watcher(Client):
    """Notes frames of answers in the order of their arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []
        """`headers`, `data`, `end` with their stream, `ping` with 0."""

    @classmethod
    async def watch(cls, fake: FakeFcm) -> Self:
        return await cls.connect(fake)

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self.seen.append(("headers", event.stream_id or 0))
            case h2.events.DataReceived():
                self.seen.append(("data" if event.data else "empty data", event.stream_id or 0))
            case h2.events.PingReceived():
                self.seen.append(("ping", 0))
        super()._take(event)

    def ping(self) -> None:
        self.h2.ping(b"12345678")
        self.flush()


def request_headers(fake: FakeFcm, path: str, **changes: str | None) -> Headers:
    """Headers in order; `changes` replaces, adds or, with None, leaves out; `method=` is the pseudo-header."""
    fields: dict[str, str | None] = {
        ":method": changes.pop("method", "POST"),
        ":scheme": "https",
        ":authority": fake.url.removeprefix("https://"),
        ":path": path,
        "content-type": "application/json",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [(name, value) for name, value in fields.items() if value is not None]


def send_path(fake: FakeFcm) -> str:
    return f"/v1/projects/{fake.project_id}/messages:send"


def send_headers(fake: FakeFcm, **changes: str | None) -> Headers:
    """Of `messages:send`, with a fresh access token; `path=` replaces the path."""
    path = changes.pop("path", None) or send_path(fake)
    changes.setdefault("authorization", f"Bearer {fake.oauth.issue()}")
    return request_headers(fake, path, **changes)


def send_body(**message: Any) -> bytes:
    """A message to `TOKEN` unless it names a target."""
    if not message.keys() & {"token", "fid", "topic", "condition"}:
        message["token"] = TOKEN
    return json.dumps({"message": message}).encode()


def error_of(reply: Reply) -> dict[str, Any]:
    """What is in Google's envelope."""
    content: dict[str, Any] = json.loads(reply.body)["error"]
    assert content["code"] == reply.status
    return content


def detail_of(error: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The detail of a type, by the last word of its name."""
    return next((item for item in error.get("details", ()) if item["@type"].endswith("." + kind)), None)


def assertion(
    fake: FakeFcm,
    *,
    header: dict[str, Any] | None = None,
    key: rsa.RSAPrivateKey | None = None,
    **claims: Any,
) -> str:
    """A JWT signed with the account's key (or another), good unless told otherwise; a claim of None is left out."""
    now = int(time.time())
    body = {
        "iss": fake.account.client_email,
        "scope": MESSAGING_SCOPE,
        "aud": fake.oauth.token_uri,
        "iat": now,
        "exp": now + 3600,
    } | claims
    body = {name: value for name, value in body.items() if value is not None}
    head = {"alg": "RS256", "typ": "JWT", "kid": fake.account.key_id} | (header or {})
    text = b".".join(_base64(json.dumps(part).encode()) for part in (head, body))
    signature = (key or fake.account.key).sign(text, padding.PKCS1v15(), hashes.SHA256())
    return (text + b"." + _base64(signature)).decode()


def token_form(signed: str, grant_type: str = GRANT_TYPE) -> bytes:
    return f"grant_type={grant_type.replace(':', '%3A')}&assertion={signed}".encode()


async def curl(*arguments: str) -> tuple[int, str]:
    """Exit code and output of curl, which never looks for a proxy."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "--noproxy", "*", "--max-time", "10", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
