"""A `Message` becomes an `Exchange`, or a `Result` that says why it cannot. Called for every push.

Google would reject these mistakes, too. If they are found before sending, they take no stream; and every 4xx counts
against the project's quota ("Best practices when sending FCM messages at scale").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

import orjson

from ..arguments import check, json_kind
from ..arguments import kind as kind_of
from ..http2.exchange import NO_FIELDS, Exchange, Sink, request
from ..http2.headers import Field, HeaderTemplate
from ..models.fcm import TARGETS, FcmNotification, LegacyMessage, LegacyNotification, Message
from ..models.fcm_check import (
    LIMIT,
    PARTS,
    TOPIC_LIMIT,
    check_condition,
    check_legacy,
    check_legacy_arguments,
    check_legacy_target,
    check_one_target,
    check_part,
    check_size,
    check_token,
    check_topic,
)
from ..models.fcm_parts import plain, to_json
from ..models.fcm_values import FieldError, check_data
from ..models.json_values import json_problem
from ..models.rendered import RenderedMessage
from ..requests import END
from ..results import Result, Verdict
from .burst_tokens import may_all_be_registrations, take_out_mistaken
from .errors import TOO_LARGE
from .legacy_result import LegacyResult
from .parts import MAX_KNOWN, OPTION, TOKEN, EncodedParts, start_of
from .rendered_request import build_rendered
from .shapes import UNPROVING, ShapePair

LEGACY_PATH: Final = b"/fcm/send"
_FID: Final = re.compile(r"[cdef][A-Za-z0-9_-]{21}", re.ASCII)  # no other token begins like this
_PROJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,99}", re.ASCII)
_NOTIFICATION_KEYS: Final = frozenset(("title", "body", "image"))
_LEGACY_REASONS: Final = {
    "argument": "InvalidParameters",
    "missing": "MissingRegistration",
    "token": "InvalidRegistration",
    "data key": "InvalidDataKey",
    "ttl": "InvalidTtl",
    "size": "MessageTooBig",
}

_WRONG: Final = Exception  # raised by values of one push, which must not end the run of a million
"""Exceptions of checks and orjson for a push that cannot be sent."""

_FIELDS: Final = (*TARGETS, *(name for name in Message.__slots__ if name not in TARGETS))
_ABSENT: Final = object()

# A body is joined from pieces: its start with the parts (`start_of`), the target, `data`, and its end with the notification.
_END: Final = b"}}"
_ALERT_END: Final = b',"notification":%b}}'

_dumps = orjson.dumps
_fid = _FID.fullmatch
_join = b"".join


def _template(authority: str, path: bytes, *extra_fields: Field) -> HeaderTemplate:
    return HeaderTemplate(
        [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", authority.encode("ascii")),
            (b"content-type", b"application/json"),
            # Google's SDKs send it, too: it requests errors in the format with `status` and `details`.
            (b"x-goog-api-format-version", b"2"),
            *extra_fields,
        ],
        path,
    )


class FcmRequestBuilder:
    """Turns messages into requests to one project of one authority.

    `quota_project`: the project that pays for the requests when it is not that of the credentials: users' own
    credentials (`gcloud auth application-default login`) have to name one.

    Raises `ConfigurationError` when `project_id` or `quota_project` is neither the id nor the number of a project.
    """

    def __init__(self, authority: str, project_id: str, quota_project: str | None = None) -> None:
        for name, value in (("project_id", project_id), ("quota_project", quota_project or project_id)):
            valid = isinstance(value, str) and _PROJECT.fullmatch(value) is not None
            check(valid, name, "the id of a project, such as my-project-1234, or its number", value)
        self.project_id = project_id
        self.extra_fields: tuple[Field, ...] = ()
        """Fields that are sent with every request to Google."""
        if quota_project is not None:
            self.extra_fields = ((b"x-goog-user-project", quota_project.encode()),)
        path = b"/v1/projects/%b/messages:send" % project_id.encode()
        self._template = _template(authority, path, *self.extra_fields)
        self._keys: set[str] = set()  # valid keys of `data`
        self._parts = EncodedParts()
        # A notification that many messages have: its value, its JSON, and the end of a body with it, after a second message has had
        # the same one. It is kept between bursts, because a message that is sent alone is a burst, too.
        self._repeated: tuple[Any, Any, bytes | None] = (_ABSENT, None, None)
        self.accepted_shapes = self._parts.accepted
        """The shapes of its messages, for the `FcmDispatcher`, which knows the responses."""

    def build(
        self,
        pushes: Iterable[Any],
        kind: type[Any],
        sink: Sink,
        deadline: float,
        exchanges: list[Exchange],
        rejected: list[Result],
    ) -> Any:
        """See `Requests.build`."""
        if kind is not Message and issubclass(kind, RenderedMessage):
            template, accepted = self._template, self.accepted_shapes
            return build_rendered(self, template, accepted, pushes, kind, sink, deadline, exchanges, rejected)
        template, keys, parts = self._template, self._keys, self._parts
        (android, android_v2, apns, webpush, options) = seen = parts.seen
        common = parts.start
        silent, alerting = parts.ready_shapes
        learned: ShapePair | None = None  # shapes of a message with other parts, until its body is made
        repeated, plain, shown = self._repeated
        replaced = False  # mostly once per burst, because its messages have the same parts
        built_before = len(exchanges)
        tokens: list[Any] = []  # tokens of the exchanges from there on; empty for another target
        try:
            for push in pushes:
                if type(push) is not kind:
                    return push
                try:
                    if (  # for most messages each is the same object or None, and then nothing is called
                        (push.android is not android and push.android != android)
                        or (push.android_v2 is not android_v2 and push.android_v2 != android_v2)
                        or (push.apns is not apns and push.apns != apns)
                        or (push.webpush is not webpush and push.webpush != webpush)
                        or (push.fcm_options is not options and push.fcm_options != options)
                    ):
                        values = (push.android, push.android_v2, push.apns, push.webpush, push.fcm_options)
                        start = start_of(parts.learn(values))
                        learned = parts.shapes
                        if parts.seen is not seen:
                            (android, android_v2, apns, webpush, options) = seen = parts.seen
                            common = parts.start
                            silent, alerting = learned
                    else:
                        start = common
                    notification: Any = push.notification
                    shape = alerting
                    if notification is None:
                        shape, end = silent, _END
                    elif notification is repeated or notification == repeated:
                        if shown is None:
                            shown = _ALERT_END % _dumps(plain)
                            self._repeated = repeated, plain, shown
                        end = shown
                    else:
                        checked = self._checked_notification(notification)
                        end = _ALERT_END % _dumps(checked)
                        if not replaced and type(checked) is dict:
                            replaced, plain, shown = True, checked.copy(), None
                            repeated = plain if checked is notification else notification
                            self._repeated = repeated, plain, shown
                    if learned is not None:
                        shape = learned.silent if notification is None else learned.alerting
                        learned = None
                    token = push.token
                    if push.topic is not None or push.condition is not None:
                        name, target = _topic_or_condition(push)
                        start = start.removesuffix(TOKEN) + b'"%b":"' % name.encode()
                        token, shape = "", UNPROVING
                    elif push.fid is not None:
                        if token is not None:
                            check_one_target(push)
                        fid = push.fid
                        if type(fid) is not str or not _fid(fid):
                            check_token(fid, "fid")
                        start = start.removesuffix(TOKEN) + b'"fid":"'
                        token, target = "", _dumps(fid)[1:-1]
                    elif token is None:
                        check_one_target(push)
                    else:
                        if len(token) < 23 or (token[22] != ":" and token[11] != ":"):
                            # Neither the form of today's tokens nor of the first ones.
                            check_token(token)
                        target = token.encode()  # a token that needs escapes is removed below
                    data = push.data
                    if data is None:
                        body = _join((start, target, b'"', end))
                    else:
                        if type(data) is not dict:
                            data = self._checked_data(data)
                        for key in data:
                            if key not in keys or type(data[key]) is not str:
                                data = self._checked_data(data)
                                break
                        body = _join((start, target, b'","data":', _dumps(data), end))
                    if push.validate_only is not False:
                        body, shape = _dry_run(push, body), UNPROVING
                    if len(body) > TOPIC_LIMIT:  # the length of all keys and values that count
                        _check_size(push, token, body)
                    exchange = Exchange()
                    exchange.shape = shape
                    exchange.template = template
                    exchange.path = b""
                    exchange.body = body
                    exchange.own_fields = NO_FIELDS
                    exchange.sink = sink
                    exchange.context = push
                    exchange.deadline = deadline
                    exchange.attempts = 1
                    exchange.status = 0
                    exchange.data = b""
                    exchange.error = None
                    exchanges.append(exchange)
                    tokens.append(token)
                except _WRONG as error:
                    learned = None
                    rejected.append(_invalid(push, error))
        finally:  # the source may have raised
            if not may_all_be_registrations(tokens):
                for exchange, problem in take_out_mistaken(exchanges, built_before, tokens):
                    rejected.append(_invalid(exchange.context, problem))
        return END

    def _checked_notification(self, source: Any) -> Any:
        """What is sent as the notification of one message, checked: a dict of texts, or JSON."""
        plain = source.to_dict() if type(source) is FcmNotification else source
        if type(plain) is not dict:
            return self._parts.json("notification", source)
        for key, value in plain.items():
            if type(value) is not str or key not in _NOTIFICATION_KEYS:
                return self._parts.json("notification", source)
        return plain

    def _checked_data(self, source: Any) -> dict[str, str]:
        """The JSON of `data`, checked; its keys are remembered as valid."""
        try:
            data: dict[str, str] = dict(source)
            if not data and isinstance(source, str | bytes):  # an empty text is not an empty object
                raise TypeError
        except (TypeError, ValueError):
            raise FieldError(f"data must be an object, not {json_kind(source)}") from None
        check_data(data)
        if len(self._keys) >= MAX_KNOWN:
            self._keys.clear()
        if len(data) <= 64:
            self._keys.update(key for key in data if type(key) is str and len(key) <= 64)
        return data


def _invalid(push: Any, error: Exception) -> Result:
    return Result(
        push,
        Verdict.INVALID,
        reason="INVALID_ARGUMENT",
        detail=_detail(error, push, _FIELDS, _check_field),
        row=TOO_LARGE if isinstance(error, FieldError) and error.kind == "size" else None,
    )


def _detail(
    error: Exception, push: Any, names: Iterable[str], check_field: Callable[[str, Any], None]
) -> str:
    """The reason why a push cannot be sent. The fields are searched for a wrong type only now."""
    if isinstance(error, FieldError):
        return error.detail
    for name in names:
        value = getattr(push, name, _ABSENT)
        if value is _ABSENT:
            return f"the message has no {name}: {type(push).__name__} never set it"
        if value is None:
            continue
        try:
            with suppress(TypeError, AttributeError, UnicodeError):  # of a check that expects JSON
                check_field(name, value)
            content = value.to_dict() if isinstance(value, LegacyNotification) else value
            text = json_problem(plain(content), name)
        except FieldError as problem:
            return problem.detail
        except RecursionError:
            return f"{name} is nested too deeply"
        except _WRONG as problem:
            return f"the {name} cannot be JSON: {problem}"
        if text:
            return text
    return f"the message cannot be JSON: {error}"


def _check_field(name: str, value: Any) -> None:
    """Raises `FieldError` for a field of a `Message`."""
    if name in TARGETS:
        if not isinstance(value, str):
            raise FieldError(f"the {name} must be a string, not {kind_of(value)}", "token")
    elif name == "data":
        check_data(plain(value))
    elif name in PARTS:
        check_part(name, plain(value))


def _check_legacy_field(name: str, value: Any) -> None:
    """Raises `FieldError` for a field of a `LegacyMessage`, unless it is false: false fields are left out."""
    if value is not False:
        if isinstance(value, LegacyNotification):
            check_legacy_arguments(value)
            value = value.to_dict()
        check_legacy({name: plain(value)})


def _topic_or_condition(push: Message) -> tuple[str, bytes]:
    """Which of the two it is, and its text in the body."""
    name = check_one_target(push)
    target = getattr(push, name)
    if name == "topic":
        check_topic(target)
    else:
        check_condition(target)
    return name, _dumps(target)[1:-1]


def _dry_run(push: Message, body: bytes) -> bytes:
    """The body of a message that is only checked by Google. Raises `FieldError` for another `validate_only`."""
    if push.validate_only is not True:
        raise FieldError(f"validate_only must be true or false, not {kind_of(push.validate_only)}")
    return b'{"validate_only":true,' + body[1:]


def _check_size(push: Message, token: str | None, body: bytes) -> None:
    """Raise `FieldError` if the message is too long for its target. `token`: empty for another target."""
    limit = LIMIT if token or push.fid is not None else TOPIC_LIMIT
    if len(body) > limit:
        if token:
            check_token(token)
        check_size(orjson.loads(body)["message"], limit)


class LegacyRequestBuilder:
    """Turns legacy messages into requests to `/fcm/send` of one authority."""

    def __init__(self, authority: str) -> None:
        self._template = _template(authority, LEGACY_PATH)

    def build(
        self,
        pushes: Iterable[Any],
        kind: type[Any],
        sink: Sink,
        deadline: float,
        exchanges: list[Exchange],
        rejected: list[Result],
    ) -> Any:
        """See `Requests.build`."""
        for push in pushes:
            if type(push) is not kind:
                return push
            try:
                check_legacy_target(push)
                body = _dumps(push.to_dict(), to_json, OPTION)
                check_legacy(orjson.loads(body))
                # orjson makes null of NaN.
                if b"null" in body and (problem := json_problem(push.to_dict(), "message")):
                    raise FieldError(problem)
                exchanges.append(request(self._template, b"", body, NO_FIELDS, sink, push, deadline))
            except _WRONG as error:
                reason = _LEGACY_REASONS[error.kind] if isinstance(error, FieldError) else "InvalidParameters"
                rejected.append(
                    LegacyResult(
                        push,
                        Verdict.INVALID,
                        reason=reason,
                        detail=_detail(error, push, LegacyMessage.__slots__, _check_legacy_field),
                    )
                )
        return END
