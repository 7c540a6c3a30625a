"""The instance-id API: topics in batches of a thousand, and what Google knows about an app instance.

Google deprecated it in September 2026 and turns it down on 2027-09-29; projects made after 2026-10-01 cannot use it
("Instance ID server API"). Its errors are words of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import orjson

from ..http2.headers import Field, HeaderTemplate
from ..reasons import UNNAMED, printable_word
from ..results import ACCEPTED, Verdict
from .errors import FcmFailure, json_object

IID_URL: Final = "https://iid.googleapis.com"
MAX_BATCH: Final = 1000
"""Registrations in one request."""
MAX_BODY: Final = 131_072  # bytes of an answer: a thousand results of an error's length

_ADD: Final = b"/iid/v1:batchAdd"
_REMOVE: Final = b"/iid/v1:batchRemove"

WORDS: Final[Mapping[str, Verdict]] = MappingProxyType(
    {
        # Google's page says of it that the token was deleted; but it is no word of FCM's own, so no token is dropped.
        "NOT_FOUND": Verdict.INVALID,
        "INVALID_ARGUMENT": Verdict.INVALID,
        "TOO_MANY_TOPICS": Verdict.INVALID,
        "RESOURCE_EXHAUSTED": Verdict.THROTTLED,
        "PERMISSION_DENIED": Verdict.MISCONFIGURED,
        "DEADLINE_EXCEEDED": Verdict.UNAVAILABLE,
        "INTERNAL": Verdict.UNAVAILABLE,
        "UNKNOWN": Verdict.UNAVAILABLE,
    }
)
"""What an error of one registration means."""


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """What the API knows about an app instance; None where it does not say.

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

    def __init__(self, authority: str, more: Sequence[Field]) -> None:
        fields = [
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b"access_token_auth", b"true"),  # what stands in `authorization` is no server key
            *more,
        ]
        self.post = HeaderTemplate([(b":method", b"POST"), *fields, (b"content-type", b"application/json")])
        self.get = HeaderTemplate([(b":method", b"GET"), *fields])

    @staticmethod
    def path(subscribe: bool) -> bytes:
        """Where a batch goes."""
        return _ADD if subscribe else _REMOVE

    @staticmethod
    def body(topic: str, registrations: Sequence[str]) -> bytes:
        """One batch."""
        return orjson.dumps({"to": f"/topics/{topic}", "registration_tokens": registrations})


def read_batch(body: bytes, count: int) -> list[FcmFailure]:
    """What became of each of `count` registrations, in their order, by an answer of status 200.

    An answer that cannot be read, or has another number of results, is UNKNOWN for all.
    """
    found = json_object(body, MAX_BODY)
    results = found.get("results") if found is not None else None
    if not isinstance(results, list) or len(results) != count:
        unknown = FcmFailure(
            UNNAMED[Verdict.UNKNOWN], detail="the answer does not say what became of each registration"
        )
        return [unknown] * count
    return [_read_one(each) for each in results]


def _read_one(result: Any) -> FcmFailure:
    if not isinstance(result, dict):
        return FcmFailure(UNNAMED[Verdict.UNKNOWN])
    reason = printable_word(result.get("error"), 100)
    if reason is None:
        return FcmFailure(UNNAMED[ACCEPTED])
    return FcmFailure(UNNAMED[WORDS.get(reason, Verdict.INVALID)], reason)


def whole_reason(body: bytes) -> str | None:
    """The one word of an error of the whole request, {"error": "InvalidArguments"}."""
    found = json_object(body)
    return printable_word(found.get("error"), 100) if found is not None else None


def read_info(found: Mapping[str, Any]) -> InstanceInfo:
    """The answer of `/iid/info/`."""
    rel = found.get("rel")
    topics = rel.get("topics") if isinstance(rel, dict) else None
    days: dict[str, str | None] = {}
    for name, each in topics.items() if isinstance(topics, dict) else ():
        days[name] = printable_word(each.get("addDate"), 40) if isinstance(each, dict) else None
    return InstanceInfo(
        application=printable_word(found.get("application"), 300),
        project=printable_word(found.get("authorizedEntity"), 100),
        platform=printable_word(found.get("platform"), 40),
        application_version=printable_word(found.get("applicationVersion"), 100),
        topics=days,
    )
