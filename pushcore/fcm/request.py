"""A `Message` becomes an `Exchange`, or the `Result` that says why it cannot: every push takes this way.

What is checked here would be refused by Google as well; finding it first costs nobody a stream, and every 4xx counts
against the project's quota ("Best practices when sending FCM messages at scale").
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from ..errors import ConfigurationError
from ..http2.exchange import NO_FIELDS, Exchange, Sink, request
from ..http2.headers import Field, Template
from ..models.fcm import FcmNotification, LegacyMessage, Message
from ..models.fcm_check import (
    LIMIT,
    TOPIC_LIMIT,
    check_condition,
    check_legacy,
    check_one_target,
    check_part,
    check_size,
    check_token,
    check_topic,
)
from ..models.fcm_parts import lasting, to_json
from ..models.fcm_values import Refused, check_data
from ..results import Result, Verdict

LEGACY_PATH: Final = b"/fcm/send"
MAX_KNOWN: Final = 1024
"""Parts, and keys of `data`, that are kept ready after they were found right; when there are more, all are forgotten."""

_FID: Final = re.compile(r"[cdef][A-Za-z0-9_-]{21}", re.ASCII)  # nobody else's token looks like it
_KEPT: Final = 1024  # bytes of a part that is kept
_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}", re.ASCII)
_NOTIFICATION_KEYS: Final = frozenset(("title", "body", "image"))
_OPTION: Final = orjson.OPT_PASSTHROUGH_DATACLASS
_LEGACY_REASONS: Final = {
    "argument": "InvalidParameters",
    "missing": "MissingRegistration",
    "token": "InvalidRegistration",
    "data key": "InvalidDataKey",
    "ttl": "InvalidTtl",
    "size": "MessageTooBig",
}

_dumps = orjson.dumps
_fid = _FID.fullmatch


def _template(authority: str, path: bytes, *more: Field) -> Template:
    return Template(
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b"content-type", b"application/json"),
            # As Google's own SDKs do: it asks for errors in the form that has `status` and `details`.
            (b"x-goog-api-format-version", b"2"),
            *more,
        ],
        path,
    )


class FcmRequests:
    """Turns messages into requests to one project of one authority.

    `quota_project`: the project that pays for the requests when it is not that of the credentials: users' own
    credentials (`gcloud auth application-default login`) have to name one.

    Raises `ConfigurationError` when `project_id` or `quota_project` is neither the id nor the number of a project.
    """

    def __init__(self, authority: str, project_id: str, quota_project: str | None = None) -> None:
        for each in (project_id, project_id if quota_project is None else quota_project):
            if not isinstance(each, str) or not _PROJECT.fullmatch(each):
                raise ConfigurationError(f"the project id must look like my-project-1234, not {each!r:.80}")
        self.project_id = project_id
        self.more: tuple[Field, ...] = ()
        """Fields that every request to Google has besides its own."""
        if quota_project is not None:
            self.more = ((b"x-goog-user-project", quota_project.encode()),)
        path = b"/v1/projects/%b/messages:send" % project_id.encode()
        self._template = _template(authority, path, *self.more)
        self._keys: set[str] = set()  # keys of `data` that were found right
        # The JSON of parts that were found right, and for each name the last part that can never change.
        self._parts: dict[tuple[str, bytes], orjson.Fragment] = {}
        self._last: dict[str, tuple[Any, orjson.Fragment]] = {}

    def build(
        self,
        push: Message,
        sink: Sink,
        context: Any,
        deadline: float,
    ) -> Exchange | Result:
        """The exchange to submit, or the INVALID result of a push that cannot be sent."""
        try:
            message: dict[str, Any] = {}
            token = push.token
            limit = LIMIT
            if push.topic is not None or push.condition is not None:
                limit = _topic_or_condition(push, message)
            elif push.fid is not None:
                if token is not None:
                    check_one_target(push)
                message["fid"] = fid = push.fid
                if type(fid) is not str or not _fid(fid):
                    check_token(fid, "fid")
            elif token is None:
                check_one_target(push)
            else:
                if type(token) is not str or ":" not in token or len(token) > 512:
                    check_token(token)
                message["token"] = token
            data = push.data
            if data is not None:
                known = self._keys
                if type(data) is not dict:
                    data = self._learn(data)
                for key, value in data.items():
                    if type(value) is not str or key not in known:
                        data = self._learn(data)
                        break
                message["data"] = data
            notification: Any = push.notification
            if notification is not None:
                plain: Any = notification.to_dict() if type(notification) is FcmNotification else notification
                if type(plain) is dict:
                    for key, value in plain.items():
                        if type(value) is not str or key not in _NOTIFICATION_KEYS:
                            plain = self._part("notification", notification)
                            break
                else:
                    plain = self._part("notification", notification)
                message["notification"] = plain
            if push.android is not None:
                message["android"] = self._part("android", push.android)
                if push.android_v2 is not None:
                    raise Refused("the message has android and android_v2: give one of them")
            elif push.android_v2 is not None:
                message["android_v2"] = self._part("android_v2", push.android_v2)
            if push.apns is not None:
                message["apns"] = self._part("apns", push.apns)
            if push.webpush is not None:
                message["webpush"] = self._part("webpush", push.webpush)
            if push.fcm_options is not None:
                message["fcm_options"] = self._part("fcm_options", push.fcm_options)
            if push.validate_only is False:
                body = _dumps({"message": message})
            else:
                if push.validate_only is not True:
                    raise Refused("validate_only must be true or false")
                body = _dumps({"validate_only": True, "message": message})
            if len(body) > limit:  # with it all keys and values that count
                check_size(orjson.loads(body)["message"], limit)
            exchange = Exchange()
            exchange.template = self._template
            exchange.path = b""
            exchange.body = body
            exchange.tail = NO_FIELDS
            exchange.sink = sink
            exchange.context = context
            exchange.deadline = deadline
            exchange.attempts = 1
            exchange.status = 0
            exchange.data = b""
            exchange.error = None
            return exchange
        except Refused as error:
            detail = error.detail
        except orjson.JSONEncodeError as error:
            detail = f"the message cannot be JSON: {error}"
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            detail = f"a field has a wrong type: {error}"
        return Result(push, Verdict.INVALID, reason="INVALID_ARGUMENT", detail=detail, attempts=0)

    def _learn(self, source: Any) -> dict[str, str]:
        """Check all of `data`, and remember its keys."""
        try:
            data: dict[str, str] = dict(source)
        except (TypeError, ValueError):
            raise Refused(f"data must be an object, not {type(source).__name__}") from None
        check_data(data)
        if len(self._keys) >= MAX_KNOWN:
            self._keys.clear()
        if len(data) <= 64:
            self._keys.update(key for key in data if type(key) is str and len(key) <= 64)
        return data

    def _part(self, name: str, value: Any) -> orjson.Fragment:
        """The JSON of a part, checked; what was found right once is found again by its JSON."""
        last = self._last.get(name)
        if last is not None and last[0] is value:
            return last[1]
        raw = _dumps(value, to_json, _OPTION)
        fragment = self._parts.get((name, raw))
        if fragment is None:
            check_part(name, orjson.loads(raw))
            fragment = orjson.Fragment(raw)
            if len(raw) <= _KEPT:
                if len(self._parts) >= MAX_KNOWN:
                    self._parts.clear()
                self._parts[(name, raw)] = fragment
        if type(value) is not dict and lasting(value):  # to see that a dict can change takes 0.4 µs
            self._last[name] = (value, fragment)
        return fragment


def _topic_or_condition(push: Message, message: dict[str, Any]) -> int:
    """Put the topic or the condition into `message`. Returns the limit of the payload."""
    name = check_one_target(push)
    target = message[name] = getattr(push, name)
    if name == "topic":
        check_topic(target)
    else:
        check_condition(target)
    return TOPIC_LIMIT


class LegacyRequests:
    """Turns legacy messages into requests to `/fcm/send` of one authority."""

    def __init__(self, authority: str) -> None:
        self._template = _template(authority, LEGACY_PATH)

    def build(
        self,
        push: LegacyMessage,
        sink: Sink,
        context: Any,
        deadline: float,
    ) -> Exchange | Result:
        """The exchange to submit, or the INVALID result of a push that cannot be sent."""
        reason = "InvalidParameters"
        try:
            check_one_target(push, ("to", "registration_ids", "condition"))
            body = _dumps(push.to_dict(), to_json, _OPTION)
            check_legacy(orjson.loads(body))
            return request(self._template, b"", body, NO_FIELDS, sink, context, deadline)
        except Refused as error:
            reason, detail = _LEGACY_REASONS[error.kind], error.detail
        except orjson.JSONEncodeError as error:
            detail = f"the message cannot be JSON: {error}"
        except (AttributeError, TypeError, ValueError, RecursionError) as error:
            detail = f"a field has a wrong type: {error}"
        return Result(push, Verdict.INVALID, reason=reason, detail=detail, attempts=0)
