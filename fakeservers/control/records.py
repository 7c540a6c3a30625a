"""Received requests, as JSON for the control port, and as the notification that a phone would show."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, TypeAlias
from urllib.parse import unquote

import orjson

from fakeservers.apns import strict as apns_strict
from fakeservers.faults.inject import MANAGEMENT
from fakeservers.fcm import strict as fcm_strict

Record: TypeAlias = apns_strict.ApnsRecord | fcm_strict.FcmRecord

MAX_BODY = 16_384
"""Bytes of a body in a record; a push has at most 5120, a batch of topic changes has more."""
MAX_TEXT = 1000
"""Characters of each text of a notification."""
_SEND = "/messages:send"
_TARGETS = ("token", "fid", "topic", "condition")
_IMAGES = ("image", "image_url", "media-url", "media_url", "attachment-url", "attachment_url")
"""Names by which apps find a picture in an APNs payload; Apple defines none."""


def record(service: str, received: Record) -> dict[str, Any]:
    """One request and its response; bodies beyond `MAX_BODY` are truncated, and credentials redacted."""
    body = received.body
    row: dict[str, Any] = {
        "service": service,
        "time": received.time,
        "token": token_of(received),
        "topic": topic_of(received),
        "status": received.status,
        "reason": received.reason,
        "connection": received.connection,
        "headers": {name: _redacted(name, value) for name, value in received.headers.items()},
        "body_bytes": len(body),
    }
    if len(body) > MAX_BODY:
        return {**row, "body_cut": body[:MAX_BODY].decode("latin-1")}
    if isinstance(received, fcm_strict.FcmRecord) and received.path.partition("?")[0] == "/token":
        return row  # an assertion is a credential for an hour
    payload = _json(body)
    if payload is not None:
        return {**row, "payload": payload}
    return {**row, "body_base64": b64encode(body).decode()} if body else row


def token_of(received: Record) -> str:
    """The device token, registration token or installation id of a send; empty when it has none."""
    if isinstance(received, apns_strict.ApnsRecord):
        return received.token
    message = _message(received)
    target = message.get("token") or message.get("fid") or message.get("to") or ""
    return target if isinstance(target, str) else ""


def topic_of(received: Record) -> str:
    """APNs: the `apns-topic`. FCM: the topic or condition that is sent to; empty when there is none."""
    if isinstance(received, apns_strict.ApnsRecord):
        return received.headers.get("apns-topic", "")
    message = _message(received)
    topic = message.get("topic") or message.get("condition") or ""
    if not topic and isinstance(message.get("to"), str) and message["to"].startswith("/topics/"):
        topic = message["to"]
    return topic.removeprefix("/topics/") if isinstance(topic, str) else ""


def drawn(service: str, received: Record) -> dict[str, Any] | None:
    """The notification as a phone shows it; None for other requests."""
    if isinstance(received, apns_strict.ApnsRecord):
        payload = _json(received.body)
        if not isinstance(payload, dict) or received.token.startswith(MANAGEMENT):
            return None
        shown = _of_apns(payload)
    else:
        payload = _message(received)
        if not payload:
            return None
        shown = _of_fcm(payload)
    texts = {name: text for name, text in shown.items() if text}
    return {
        "service": service,
        "time": received.time,
        "token": token_of(received)[:MAX_TEXT],
        "topic": topic_of(received)[:MAX_TEXT],
        "status": received.status,
        "reason": received.reason,
        "silent": not texts.keys() & {"title", "subtitle", "body"},
        **texts,
        "raw": orjson.dumps(payload, option=orjson.OPT_INDENT_2)[:MAX_BODY].decode("utf-8", "ignore"),
    }


def _of_apns(payload: dict[str, Any]) -> dict[str, str]:
    aps = _dict(payload.get("aps"))
    alert = aps.get("alert")
    texts = alert if isinstance(alert, dict) else {"body": alert}
    options = _dict(payload.get("fcm_options"))
    image = options.get("image") or next((payload[name] for name in _IMAGES if payload.get(name)), None)
    return {
        "title": _localised(texts, "title", "title-loc-key", "title-loc-args"),
        "subtitle": _localised(texts, "subtitle", "subtitle-loc-key", "subtitle-loc-args"),
        "body": _localised(texts, "body", "loc-key", "loc-args"),
        "badge": _text(aps.get("badge")),
        "image": _text(image),
        "sound": _text(_dict(aps.get("sound")).get("name") or aps.get("sound")),
    }


def _of_fcm(message: dict[str, Any]) -> dict[str, str]:
    """What Android shows; for a message to iOS alone, what its APNs part says."""
    common = _dict(message.get("notification"))
    android = _dict(_camel(_dict(message.get("android")), "notification"))
    apple = _of_apns(_dict(_dict(message.get("apns")).get("payload")))
    shown = {
        "title": _text(android.get("title") or common.get("title")),
        "body": _text(android.get("body") or common.get("body")),
        "image": _text(android.get("image") or common.get("image")),
        "sound": _text(android.get("sound")),
        "badge": _text(_camel(android, "notification_count")),
    }
    return {**apple, **{name: text for name, text in shown.items() if text}}


def _message(received: fcm_strict.FcmRecord) -> dict[str, Any]:
    """The `message` of a v1 send, or all of a legacy send; empty for everything else."""
    path = received.path.partition("?")[0]
    if not path.endswith(_SEND) and unquote(path) != "/fcm/send":
        return {}
    body = _dict(_json(received.body))
    return _dict(body.get("message")) if path.endswith(_SEND) else body


def _localised(texts: dict[str, Any], name: str, key: str, arguments: str) -> str:
    """The text, otherwise its localisation key and arguments."""
    if texts.get(name) is not None:
        return _text(texts[name])
    if not texts.get(key):
        return ""
    listed = texts.get(arguments)
    inside = ", ".join(map(_text, listed)) if isinstance(listed, list) else ""
    return _text(f"{_text(texts[key])}({inside})")


def _camel(fields: dict[str, Any], name: str) -> Any:
    first, *rest = name.split("_")
    return fields.get(name) if name in fields else fields.get(first + "".join(map(str.title, rest)))


def _text(value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        return ""
    return str(value)[:MAX_TEXT]


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(body: bytes) -> Any:
    """The body as an object; None when it is no JSON, or too deeply nested."""
    try:
        parsed = orjson.loads(body)
        orjson.dumps([[[[parsed]]]])
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return parsed


def _redacted(name: str, value: str) -> str:
    if name not in ("authorization", "cookie"):
        return value
    scheme, _, secret = value.rpartition(" ")
    return f"{scheme} … ({len(secret)} characters)".strip()
