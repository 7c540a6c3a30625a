"""The calls of the control port as a table: method, path, what it takes, what it gives. OpenAPI and checks are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakeservers.channels import MAX_CHANNEL_ID, POLICIES
from fakeservers.control_schema import Schema
from fakeservers.fates import CODES
from fakeservers.fcm_fates import FATES

MAX_PAGE = 1000
MAX_OFFSET = 1_000_000
MAX_LIST = 10_000
"""Devices, topics or fates of one call."""


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] = {}, **more: Any) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _text(longest: int, pattern: str = "", description: str = "") -> Schema:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": longest}
    if pattern:
        schema["pattern"] = pattern
    return {**schema, "description": description} if description else schema


def _list(items: Schema, most: int = MAX_LIST) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


def _seconds(most: float, description: str) -> Schema:
    return {"type": "number", "minimum": 0, "maximum": most, "description": description}


SERVICE: Schema = {"type": "string", "enum": ["apns", "fcm"], "description": "Only this service's."}
DEVICE_TOKEN = _text(200, "^([0-9a-fA-F]{2})+$", "Hexadecimal.")
BUNDLE_ID = _text(255, r"^[A-Za-z0-9._-]+$")
CHANNEL_ID = _text(MAX_CHANNEL_ID, "^[A-Za-z0-9+/]+=*$", "Base64.")
NAME_OF_KEY = _text(64, "^[A-Za-z0-9]+$")
REGISTRATION = _text(1000, r"^[\x21-\x7e]+$", "A registration token or installation id.")
TARGET = _text(1000, r"^[\x20-\x7e]+$", "A token, installation id, topic or condition.")
FCM_TOPIC = _text(900, r"^[A-Za-z0-9_.~%-]+$")
FAULT_ID = _text(64, r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
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
    "token": _text(1000, "", "Sent to exactly this token."),
    "topic": _text(1000, "", "With exactly this `apns-topic`, FCM topic or condition."),
    "since": _seconds(1e11, "Not earlier, UNIX seconds."),
    "until": _seconds(1e11, "Not later, UNIX seconds."),
}
OAUTH_ERRORS = ("invalid_grant", "invalid_scope", "invalid_request")
PARTS = ("received", "counters", "faults")


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One call: `method path` is answered with what `Desk.call(name, …)` gives, its arguments from all three places."""

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


ROUTES: tuple[Route, ...] = (
    Route(
        name="state",
        method="GET",
        path="/v1/state",
        tag="looking",
        own=True,
        summary="Everything that the page shows: rates, percentiles, answers, faults, the last notifications.",
    ),
    Route(
        name="events",
        method="GET",
        path="/v1/events",
        tag="looking",
        own=True,
        media="text/event-stream",
        summary="The same as server-sent events: `history` once, then `state` every second.",
    ),
    Route(
        name="counters",
        method="GET",
        path="/v1/counters",
        tag="looking",
        own=True,
        summary="Counters since the start or the last reset, by service.",
    ),
    Route(
        name="metrics",
        method="GET",
        path="/metrics",
        tag="looking",
        own=True,
        media="text/plain",
        summary="The counters in Prometheus' text form.",
    ),
    Route(
        name="received",
        method="GET",
        path="/v1/received",
        tag="looking",
        query={**FILTER, **PAGED},
        own=True,
        summary="Requests and their answers, newest first. With the `until` of the first page, pages stay as they are.",
    ),
    Route(
        name="clear_received",
        method="DELETE",
        path="/v1/received",
        tag="looking",
        query=FILTER,
        summary="Forget what was received; with filters, only what fits.",
    ),
    Route(
        name="reset",
        method="POST",
        path="/v1/reset",
        tag="looking",
        body=_object(
            {},
            {"what": {**_list({"type": "string", "enum": list(PARTS)}, len(PARTS)), "default": list(PARTS)}},
        ),
        summary="Begin anew: forget what was received, set counters to zero, take all faults out; or only some of these.",
    ),
    Route(
        name="faults",
        method="GET",
        path="/v1/faults",
        tag="faults",
        summary="The faults with their state, and the names of the ready-made plans.",
    ),
    Route(
        name="set_faults",
        method="PUT",
        path="/v1/faults",
        tag="faults",
        body=_object(
            {},
            {
                "plan": PLAN,
                "preset": _text(64, "^[a-z][a-z0-9-]*$", "A ready-made plan instead."),
                "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                "scale": {
                    "type": "number",
                    "minimum": 0.0001,
                    "maximum": 10_000,
                    "description": "What all times are multiplied by.",
                },
            },
        ),
        summary="Put another plan in the place of this one. Its time begins now.",
    ),
    Route(
        name="add_fault",
        method="POST",
        path="/v1/faults",
        tag="faults",
        status=201,
        body=FAULT,
        argument="fault",
        summary="Add a fault.",
    ),
    Route(
        name="replace_fault",
        method="PUT",
        path="/v1/faults/{fault_id}",
        tag="faults",
        body=FAULT,
        argument="fault",
        parameters={"fault_id": FAULT_ID},
        summary="Put a fault in the place of the one of this id, or add it.",
    ),
    Route(
        name="switch_fault",
        method="PATCH",
        path="/v1/faults/{fault_id}",
        tag="faults",
        parameters={"fault_id": FAULT_ID},
        body=_object({"enabled": {"type": "boolean"}}),
        summary="Switch a fault on or off.",
    ),
    Route(
        name="remove_fault",
        method="DELETE",
        path="/v1/faults/{fault_id}",
        tag="faults",
        status=204,
        parameters={"fault_id": FAULT_ID},
        summary="Take a fault out.",
    ),
    Route(
        name="devices",
        method="GET",
        path="/v1/apns/devices",
        tag="apns",
        query=PAGED,
        summary="Registered devices and their state.",
    ),
    Route(
        name="add_devices",
        method="POST",
        path="/v1/apns/devices",
        tag="apns",
        body=_object(
            {
                "devices": _list(
                    _object(
                        {"token": DEVICE_TOKEN},
                        {
                            "topic": _or_null(BUNDLE_ID),
                            "fate": {"type": "string", "enum": ["", *sorted(CODES.values())]},
                            "since": _or_null(
                                {
                                    "type": "integer",
                                    "minimum": 0,
                                    "maximum": 10**15,
                                    "description": "Milliseconds, with 410.",
                                }
                            ),
                        },
                    )
                )
            }
        ),
        summary="Register devices, or change their state. `fate` is what happens to pushes.",
    ),
    Route(
        name="remove_device",
        method="DELETE",
        path="/v1/apns/devices/{token}",
        tag="apns",
        status=204,
        parameters={"token": DEVICE_TOKEN},
        summary="Make a device unknown.",
    ),
    Route(name="keys", method="GET", path="/v1/apns/keys", tag="apns", summary="Signing keys."),
    Route(
        name="add_key",
        method="PUT",
        path="/v1/apns/keys/{key_id}",
        tag="apns",
        parameters={"key_id": NAME_OF_KEY},
        body=_object(
            {"team_id": NAME_OF_KEY, "pem": _text(4096, "", "Of the public or the private half.")},
            {
                "topics": _or_null(_list(BUNDLE_ID)),
                "environment": _or_null({"type": "string", "enum": ["sandbox", "production"]}),
                "related": _or_null(NAME_OF_KEY),
            },
        ),
        summary="Register a signing key, or replace it.",
    ),
    Route(
        name="remove_key",
        method="DELETE",
        path="/v1/apns/keys/{key_id}",
        tag="apns",
        status=204,
        parameters={"key_id": NAME_OF_KEY},
        summary="Revoke a signing key.",
    ),
    Route(
        name="topics", method="GET", path="/v1/apns/topics", tag="apns", summary="The topics of each team."
    ),
    Route(
        name="add_topics",
        method="POST",
        path="/v1/apns/topics",
        tag="apns",
        body=_object({"team_id": NAME_OF_KEY, "topics": _list(BUNDLE_ID, 1000)}),
        summary="Let a team push to these topics, on connections to come.",
    ),
    Route(
        name="remove_topic",
        method="DELETE",
        path="/v1/apns/topics/{team_id}/{topic}",
        tag="apns",
        status=204,
        parameters={"team_id": NAME_OF_KEY, "topic": BUNDLE_ID},
        summary="Take a topic from a team.",
    ),
    Route(
        name="channels",
        method="GET",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        query=PAGED,
        summary="The broadcast channels of an app.",
    ),
    Route(
        name="add_channels",
        method="POST",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        body=_object(
            {
                "channels": _list(
                    _object(
                        {"channel_id": CHANNEL_ID},
                        {
                            "policy": {
                                "type": "integer",
                                "enum": list(POLICIES),
                                "description": "1 stores the newest message, 0 none.",
                            }
                        },
                    )
                )
            }
        ),
        summary="Register channels under ids of your own.",
    ),
    Route(
        name="clear_channels",
        method="DELETE",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        query={"channel_id": CHANNEL_ID},
        summary="Delete the channels of an app, or the one that is named.",
    ),
    Route(
        name="switch_channels",
        method="PATCH",
        path="/v1/apns/channels/{bundle_id}",
        tag="apns",
        parameters={"bundle_id": BUNDLE_ID},
        body=_object({"enabled": {"type": "boolean"}}),
        summary="Let an app broadcast, or not: then it loses its channels.",
    ),
    Route(
        name="fates",
        method="GET",
        path="/v1/fcm/fates",
        tag="fcm",
        query=PAGED,
        summary="Targets that do not carry their own fate, and the fates of the next sends.",
    ),
    Route(
        name="add_fates",
        method="POST",
        path="/v1/fcm/fates",
        tag="fcm",
        body=_object(
            {},
            {
                "fates": {
                    **_list(_object({"target": TARGET, "fate": {"type": "string", "enum": sorted(FATES)}})),
                    "minItems": 0,
                    "default": [],
                },
                "next": {**_list({"type": "string", "enum": sorted(FATES)}), "minItems": 0, "default": []},
            },
        ),
        summary="Say what happens to sends to these targets, and to the next sends whatever their target.",
    ),
    Route(
        name="remove_fate",
        method="DELETE",
        path="/v1/fcm/fates/{target}",
        tag="fcm",
        status=204,
        parameters={"target": TARGET},
        summary="Make a target an ordinary one.",
    ),
    Route(
        name="subscriptions",
        method="GET",
        path="/v1/fcm/subscriptions/{registration}",
        tag="fcm",
        parameters={"registration": REGISTRATION},
        summary="The topics of a registration.",
    ),
    Route(
        name="subscribe",
        method="POST",
        path="/v1/fcm/subscriptions/{registration}",
        tag="fcm",
        parameters={"registration": REGISTRATION},
        body=_object({"topics": _list(FCM_TOPIC, 1000)}),
        summary="Subscribe a registration to topics.",
    ),
    Route(
        name="unsubscribe",
        method="DELETE",
        path="/v1/fcm/subscriptions/{registration}/{topic}",
        tag="fcm",
        status=204,
        parameters={"registration": REGISTRATION, "topic": FCM_TOPIC},
        summary="Unsubscribe it from one.",
    ),
    Route(
        name="oauth",
        method="PATCH",
        path="/v1/fcm/oauth",
        tag="fcm",
        body=_object(
            {},
            {
                "lifetime": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 31_536_000,
                    "description": "`expires_in` of tokens to come.",
                },
                "delay": _seconds(1e6, "By which answers are late."),
                "down": {"type": "boolean", "description": "503 to everything."},
                "error": {"type": "string", "enum": ["", *OAUTH_ERRORS]},
                "tokens": {
                    "type": "string",
                    "enum": ["expire", "forget"],
                    "description": "What becomes of those issued so far.",
                },
            },
        ),
        summary="Change what the token endpoint does; an empty object changes nothing.",
    ),
)
