"""One call of the control port as a `Route`, and the JSON Schemas that its parameters and bodies are put together of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakeservers.apns.channels import MAX_CHANNEL_ID
from fakeservers.control.schema import Schema

MAX_PAGE = 1000
MAX_OFFSET = 1_000_000
MAX_LIST = 10_000
"""Devices, topics or fates of one call."""


def object_of(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}, **more: Any) -> Schema:
    """An object of these fields and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def text(longest: int, pattern: str = "", description: str = "") -> Schema:
    """Text that is not empty. `pattern`: anchored at both ends."""
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": longest}
    if pattern:
        schema["pattern"] = pattern
    return {**schema, "description": description} if description else schema


def list_of(items: Schema, most: int = MAX_LIST) -> Schema:
    """A list that is not empty."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def or_null(schema: Schema) -> Schema:
    """The same, or nothing."""
    return {"anyOf": [{"type": "null"}, schema]}


def seconds(most: float, description: str) -> Schema:
    """A number of seconds."""
    return {"type": "number", "minimum": 0, "maximum": most, "description": description}


SERVICE: Schema = {"type": "string", "enum": ["apns", "fcm"], "description": "Only this service's."}
DEVICE_TOKEN = text(200, "^([0-9a-fA-F]{2})+$", "Hexadecimal.")
BUNDLE_ID = text(255, r"^[A-Za-z0-9._-]+$")
CHANNEL_ID = text(MAX_CHANNEL_ID, "^[A-Za-z0-9+/]+=*$", "Base64.")
NAME_OF_KEY = text(64, "^[A-Za-z0-9]+$")
REGISTRATION = text(1000, r"^[\x21-\x7e]+$", "A registration token or installation id.")
TARGET = text(1000, r"^[\x20-\x7e]+$", "A token, installation id, topic or condition.")
FCM_TOPIC = text(900, r"^[A-Za-z0-9_.~%-]+$")
FAULT_ID = text(64, r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
FAULT: Schema = {
    "type": "object",
    "description": "As in a fault plan, see docs/fakeservers-faults.md.",
    "properties": {"what": {}},
    "required": ["what"],
    "maxProperties": 20,
}
PLAN: Schema = {
    "type": "object",
    "description": "As a fault plan's file says it in JSON.",
    "maxProperties": 20,
}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 100}
OFFSET: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}
PAGED: Mapping[str, Schema] = {"offset": OFFSET, "limit": LIMIT}
FILTER: Mapping[str, Schema] = {
    "service": SERVICE,
    "token": text(1000, "", "Sent to exactly this token."),
    "topic": text(1000, "", "With exactly this `apns-topic`, FCM topic or condition."),
    "since": seconds(1e11, "Not earlier, UNIX seconds."),
    "until": seconds(1e11, "Not later, UNIX seconds."),
}
OAUTH_ERRORS = ("invalid_grant", "invalid_scope", "invalid_request")
PARTS = ("received", "counters", "faults")


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One call: `method path` is answered with what `ControlService.call(name, …)` gives, its arguments from all three places."""

    name: str
    method: str
    path: str
    summary: str
    tag: str
    status: int = 200
    """204 has no body."""
    parameters: Mapping[str, Schema] = field(default_factory=dict)
    """Those of the path; all are needed."""
    query: Mapping[str, Schema] = field(default_factory=dict)
    """None is needed."""
    body: Schema | None = None
    """What the JSON body must be. Its fields are arguments, unless `argument` names the one that it is as a whole."""
    argument: str = ""
    own: bool = False
    """Answered by `control.py` itself: texts, streams, and what needs the meter."""
    media: str = "application/json"
    """Of the answer."""
