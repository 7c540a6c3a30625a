"""The instance-id API: topics in batches of a thousand, and what Google knows about an app instance.

Google deprecated it in September 2026 and will shut it down on 2027-09-29; projects made after 2026-10-01 cannot use it
("Instance ID server API"). It has error words of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from ..http2.headers import Field, HeaderTemplate
from ..reasons import (
    ACCEPTED,
    INVALID,
    MISCONFIGURED,
    THROTTLED,
    UNAVAILABLE,
    UNEXPECTED,
    UNKNOWN,
    UNNAMED,
    Reason,
    ReasonTable,
    describe_unexpected,
    printable_word,
    register,
)
from .errors import TABLE as SEND_TABLE
from .errors import FcmFailure, json_object, read_error

IID_URL: Final = "https://iid.googleapis.com"
MAX_BATCH: Final = 1000
"""Registrations in one request."""
INFO_MEMBERS: Final = frozenset(("application", "authorizedEntity", "platform", "applicationVersion", "rel"))
"""Members that the description of an app instance may have."""
MAX_BODY: Final = 131_072  # bytes of a response: a thousand results of an error's length

_WORDS: Final = re.compile(r"[A-Z][A-Za-z_]*|No information found.*")
"""The errors of a whole request; those of other servers are sentences or words in lower case."""
_PAGE: Final = b"Error 401"
"""A part of Google's page for a 401."""
_ADD: Final = b"/iid/v1:batchAdd"
_REMOVE: Final = b"/iid/v1:batchRemove"

_LATER: Final = "Send again later, with growing backoff."
_ROWS: Final = (
    # According to Google's page the token was deleted. But it is not a word of FCM, so no token is dropped.
    Reason(
        200,
        "NOT_FOUND",
        INVALID,
        "Check the registration with a send: this API has no app instance of this name.",
        blames="token",
    ),
    Reason(200, "INVALID_ARGUMENT", INVALID, "Correct the registration or the name of the topic."),
    Reason(
        200,
        "TOO_MANY_TOPICS",
        INVALID,
        "Unsubscribe from topics: the app instance has reached the limit.",
    ),
    Reason(
        200,
        "RESOURCE_EXHAUSTED",
        THROTTLED,
        "Slow the whole project down.",
        wait=60.0,
        setting="fcm_quota_wait",
        asked_setting="fcm_wait",
        scope="project",
    ),
    Reason(
        200,
        "PERMISSION_DENIED",
        MISCONFIGURED,
        "Check the permissions of the service account in this project.",
    ),
    *(
        Reason(200, name, UNAVAILABLE, _LATER, wait=10.0, setting="fcm_wait")
        for name in ("DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN")
    ),
)
TABLE: Final = register("fcm", ReasonTable(_ROWS, {}, exact=True))
"""The table of a batch's results, which come in a response of status 200."""
REASONS: Final = TABLE.rows
"""The table, by the word of the API."""


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """The properties of an app instance; None for missing ones.

    `application`: the app's package or bundle id. `project`: the number of its project. `platform`: "ANDROID", "IOS" or
    "CHROME". `topics`: each topic and the day on which it was added.
    """

    application: str | None = None
    project: str | None = None
    platform: str | None = None
    application_version: str | None = None
    topics: Mapping[str, str | None] = field(default_factory=dict)


class BatchRequestBuilder:
    """Requests to the API at one authority."""

    def __init__(self, authority: str, extra_fields: Sequence[Field]) -> None:
        fields = [
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b"access_token_auth", b"true"),  # `authorization` has no server key
            *extra_fields,
        ]
        self.post = HeaderTemplate([(b":method", b"POST"), *fields, (b"content-type", b"application/json")])
        self.get = HeaderTemplate([(b":method", b"GET"), *fields])

    @staticmethod
    def path(subscribe: bool) -> bytes:
        """The path of a batch."""
        return _ADD if subscribe else _REMOVE

    @staticmethod
    def body(topic: str, registrations: Sequence[str]) -> bytes:
        """The body of a batch."""
        return orjson.dumps({"to": f"/topics/{topic}", "registration_tokens": registrations})


def read_batch(body: bytes, count: int) -> list[FcmFailure]:
    """The outcome of each of `count` registrations, in their order, by a response of status 200.

    One that is not the API's, or has another number of results, is UNKNOWN for all: they may have been changed.
    """
    response = json_object(body, MAX_BODY)
    results = response.get("results") if response is not None else None
    if not isinstance(results, list):
        detail = describe_unexpected("the instance-id API", 200, body)
    elif len(results) != count:
        detail = f"the response has {len(results)} results for {count} registrations"
    else:
        return [_read_one(result) for result in results]
    return [FcmFailure(UNNAMED[UNKNOWN], detail=detail)] * count


def _read_one(result: Any) -> FcmFailure:
    if not isinstance(result, dict):
        return FcmFailure(UNNAMED[UNKNOWN])
    reason = printable_word(result.get("error"), 100)
    if reason is None:
        return FcmFailure(UNNAMED[ACCEPTED])
    return FcmFailure(REASONS.get(reason, UNNAMED[INVALID]), reason)


def read_rejection(status: int, body: bytes, retry_after: str | None = None, now: float = 0.0) -> FcmFailure:
    """The meaning of an error of a whole request: {"error": "InvalidArguments"}, or the HTML page of a 401.

    Called and never raising as `read_error`, which reads every other response.
    """
    failure = read_error(status, body, retry_after, now)
    response = json_object(body)
    reason = printable_word(response.get("error"), 100) if response is not None else None
    if status >= 400 and reason is not None and _WORDS.fullmatch(reason):
        row = SEND_TABLE.of_status(status)
        if status == 404:  # the path exists, but not the app instance
            row = REASONS["NOT_FOUND"]
        elif reason in REASONS and REASONS[reason].verdict is row.verdict:
            row = REASONS[reason]
        return replace(failure, row=row, reason=reason, detail=None)
    if status == 401 and failure.row is UNEXPECTED and _PAGE in body:
        return replace(failure, row=SEND_TABLE.of_status(401), reason=None)
    return failure


def read_info(response: Mapping[str, Any]) -> InstanceInfo:
    """The response of `/iid/info/`."""
    rel = response.get("rel")
    topics = rel.get("topics") if isinstance(rel, dict) else None
    dates: dict[str, str | None] = {}
    for name, topic in topics.items() if isinstance(topics, dict) else ():
        dates[name] = printable_word(topic.get("addDate"), 40) if isinstance(topic, dict) else None
    return InstanceInfo(
        application=printable_word(response.get("application"), 300),
        project=printable_word(response.get("authorizedEntity"), 100),
        platform=printable_word(response.get("platform"), 40),
        application_version=printable_word(response.get("applicationVersion"), 100),
        topics=dates,
    )
