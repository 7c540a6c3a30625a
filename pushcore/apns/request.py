"""A `Notification` becomes an `Exchange`, or the `Result` that says why it cannot. Called for every push.

Apple would reject these mistakes, too. If they are found before sending, they take no stream, and Apple throttles senders with many
rejections ("Handling notification responses from APNs").
"""

from __future__ import annotations

import binascii
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from ..arguments import check, kind, shown
from ..http2.exchange import NO_FIELDS, Exchange, Sink
from ..http2.headers import Field, HeaderTemplate
from ..models.apns import ENVIRONMENTS, PUSH_TYPES, Notification, PushType
from ..models.apns_check import INVISIBLE, idle_parts, mistyped_parts
from ..models.aps import Aps
from ..models.json_values import json_problem
from ..models.warned import warn_once
from ..requests import END
from ..results import Result, Verdict
from .values import (
    BRACE,
    TOPIC,
    UUID,
    InvalidPush,
    body_of,
    check_moments,
    content_of,
    expiration_of,
    rejection,
    uuid_of,
)

MAX_TOKEN: Final = 512
"""Characters of a device token. Apple says to assume no length; this bounds what goes into a header."""
MAX_COLLAPSE_ID: Final = 64  # bytes
MAX_KINDS: Final = 4096  # combinations of topic, push type and priority that are kept ready

_PATH: Final = b"/3/device/"
_SUFFIXES: Final = frozenset(push_type.suffix for push_type in PUSH_TYPES.values())
_CLOSING_BRACE: Final = 0x7D
_ABSENT: Final = object()
_TEXT: Final = (str, type(None))
_FIELDS: Final[tuple[tuple[str, Any, str, str | None], ...]] = (
    ("token", str, "a string of hexadecimal digits", None),
    ("payload", (dict, bytes, Aps), "a dict, JSON in bytes, or an Aps", None),
    ("topic", _TEXT, "a string", "BadTopic"),
    ("push_type", (str, PushType), "a string or a PushType", "InvalidPushType"),
    ("priority", (int, type(None)), "1, 5 or 10", "BadPriority"),
    (
        "expiration",
        (int, datetime, timedelta, type(None)),
        "UNIX seconds, a datetime or a timedelta",
        "BadExpirationDate",
    ),
    ("collapse_id", _TEXT, "a string", "BadCollapseId"),
    ("apns_id", (str, uuid.UUID, type(None)), "a string or a uuid.UUID", "BadMessageId"),
    ("environment", _TEXT, "production or sandbox", None),
)
"""For each field of a notification: its classes, what it must be, and Apple's reason if it is wrong."""
_COLLAPSE_ID: Final = re.compile(r"[ -~]+", re.ASCII)

NO_KIND: Final[tuple[Any, Any, Any, Any, HeaderTemplate, int]] = (
    END,
    None,
    None,
    None,
    HeaderTemplate(()),
    0,
)
"""The first push of a builder is compared with it: no push has such a topic."""

_dumps = orjson.dumps
_unhexlify = binascii.unhexlify


class WrongEnvironment(InvalidPush):
    """The push is for another environment than the client's."""


class ApnsRequestBuilder:
    """Turns notifications into requests to one authority. `topic` is for those that name none.

    `key_topics`: the bundle ids that the key is for; None for any of its team's. `now`: the wall clock, UNIX seconds, from
    which an expiration given as a timedelta counts. `environment`: whose tokens the authority knows; None where that is not known.

    Raises `ConfigurationError` when `topic` is not a bundle id.
    """

    def __init__(
        self,
        authority: str,
        topic: str | None,
        *,
        token_auth: bool,
        key_topics: frozenset[str] | None = None,
        now: Callable[[], float] = time.time,
        environment: str | None = None,
    ) -> None:
        valid = topic is None or (isinstance(topic, str) and TOPIC.fullmatch(topic) is not None)
        check(valid, "topic", "a bundle id such as com.example.app", topic)
        self._authority = authority.encode("ascii")
        self.topic = topic
        self._key_topics = key_topics
        self._token_auth = token_auth
        self.now = now
        self._environment = environment
        self._kinds: dict[tuple[Any, Any, Any], tuple[HeaderTemplate, int]] = {}
        self._checked_payload: bytes | None = None  # the last in bytes, with valid times
        self._parsed: Any = _ABSENT  # the last in bytes that was parsed
        # Topic, push type, priority and environment of the last push, its template, and the number of bytes above which a payload is
        # checked: of a Live Activity every payload is.
        self._last = NO_KIND

    def build(
        self,
        pushes: Iterable[Any],
        kind: type[Any],
        sink: Sink,
        deadline: float,
        exchanges: list[Exchange],
        rejected: list[Result],
    ) -> Any:
        """See `Requests.build`. A push for another environment is returned, too, unless it is the first of these."""
        # Consecutive pushes of one kind have their template by four identity checks.
        topic, push_type, priority, environment, template, limit = self._last
        before = len(exchanges) + len(rejected)
        length = -1  # of the last token
        # Parsing each payload in bytes would cost a quarter of a push. So the first one of a burst is parsed, unless it is the last one
        # parsed, and the following ones until one is JSON. Of further ones only both ends are checked: rows of a campaign are valid JSON.
        parsed, trusted = self._parsed, kind is not Notification
        for push in pushes:
            if type(push) is not kind:
                return push
            try:
                if (
                    push.topic is not topic
                    or push.push_type is not push_type
                    or push.priority is not priority
                    or push.environment is not environment
                ):
                    topic, push_type, priority, environment, template, limit = self._last = self._look_up(
                        push
                    )
                token = push.token
                _unhexlify(token)  # four times faster than any other check of 64 characters
                payload = push.payload
                payload_class = type(payload)
                if payload_class is dict:
                    body = _dumps(payload)
                elif payload is parsed or (
                    payload_class is bytes
                    and trusted
                    and payload
                    and payload[0] == BRACE
                    and payload[-1] == _CLOSING_BRACE
                ):
                    body = payload
                else:
                    body = body_of(payload, push_type)
                    if payload_class is bytes:
                        content_of(body)
                        trusted = True
                        if body is payload:
                            parsed = self._parsed = payload
                if len(body) > limit:
                    self._check_payload(payload, body, push_type)
                own_fields = NO_FIELDS
                if push.apns_id is not None or push.expiration is not None or push.collapse_id is not None:
                    own_fields = self._own_fields(push)
                if len(token) != length:
                    if not 2 <= len(token) <= MAX_TOKEN:
                        raise InvalidPush(None, f"the device token is not 2 to {MAX_TOKEN} characters long")
                    length = len(token)
                exchange = Exchange()
                exchange.template = template
                exchange.path = token.encode()
                exchange.body = body
                exchange.own_fields = own_fields
                exchange.sink = sink
                exchange.context = push
                exchange.deadline = deadline
                exchange.attempts = 1
                exchange.status = 0
                exchange.data = b""
                exchange.error = None
                exchanges.append(exchange)
            # A value of one push may raise anything, and must not end the run of a million.
            except Exception as error:
                if isinstance(error, WrongEnvironment) and len(exchanges) + len(rejected) > before:
                    return push
                rejected.append(rejection(push, error, _FIELDS))
        return END

    def use(self, *, token_auth: bool, key_topics: frozenset[str] | None) -> None:
        """The credentials were replaced: whether they are a key, and its topics, None for any of its team's."""
        self._token_auth = token_auth
        self._key_topics = key_topics
        self._kinds.clear()
        self._last = NO_KIND

    def takes_environment(self, environment: str | None) -> bool:
        """Whether the authority may know tokens of this environment; None stands for one that is not known."""
        return environment is None or self._environment is None or environment == self._environment

    def takes(self, topic: str | None) -> bool:
        """Whether the key is for this topic, with or without a suffix; None is the client's own."""
        key_topics = self._key_topics
        if key_topics is None:
            return True
        topic = topic or self.topic
        return topic is not None and any(topic.removesuffix(suffix) in key_topics for suffix in _SUFFIXES)

    def _look_up(self, push: Notification) -> tuple[Any, Any, Any, Any, HeaderTemplate, int]:
        """The template and the limit of pushes like this one, as in `_last`."""
        environment = push.environment
        if environment is not None and environment not in ENVIRONMENTS:
            raise InvalidPush(
                None, f"the environment must be {' or '.join(ENVIRONMENTS)}, not {shown(environment)}"
            )
        if not self.takes_environment(environment):
            raise WrongEnvironment(
                None, f"the token belongs to {environment}, and this client sends to {self._environment}"
            )
        priority: Any = push.priority
        if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
            raise InvalidPush("BadPriority", f"the priority must be 1, 5 or 10, not {kind(priority)}")
        key = (push.topic, push.push_type, priority)
        template_and_limit = self._kinds.get(key)
        if template_and_limit is None:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
            template_and_limit = self._kinds[key] = self._new_kind(*key)
            # Only for the first push of a kind: checking every push would cost too much.
            for text in _doubts(push):
                warn_once(f"a payload for APNs: {text}")
        return (*key, environment, *template_and_limit)

    def _check_payload(self, payload: Any, body: bytes, push_type: str | PushType) -> None:
        """Raises `InvalidPush` for a payload that is too large, or has invalid times."""
        definition = _push_type(push_type)
        if len(body) > definition.limit:
            raise InvalidPush(
                "PayloadTooLarge", f"the payload has {len(body)} bytes, {definition.limit} are allowed"
            )
        if payload is self._checked_payload or definition.name != "liveactivity":
            return
        check_moments(payload)
        if type(payload) is bytes:
            self._checked_payload = payload

    def _new_kind(
        self, topic: str | None, given: str | PushType, priority: int | None
    ) -> tuple[HeaderTemplate, int]:
        push_type = _push_type(given)
        name = push_type.name
        if push_type.token_auth_only and not self._token_auth:
            raise InvalidPush("InvalidPushType", f"{name} needs a key; a certificate cannot send it")
        if priority is None:
            priority = push_type.default_priority
        elif priority not in push_type.priorities:
            allowed = " or ".join(map(str, push_type.priorities))
            raise InvalidPush("BadPriority", f"the priority of {name} is {allowed}, not {shown(priority)}")
        fields: list[Field] = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            (b"apns-push-type", name.encode()),
        ]
        full_topic = self._topic_for(topic, push_type)
        if full_topic is not None:
            fields.append((b"apns-topic", full_topic.encode()))
        if priority is not None:
            fields.append((b"apns-priority", b"%d" % priority))
        return HeaderTemplate(fields, _PATH), -1 if name == "liveactivity" else push_type.limit

    def _own_fields(self, push: Notification) -> tuple[Field, ...]:
        """The fields that only this push has, checked: no text of a caller can end a header."""
        fields: list[Field] = []
        apns_id = push.apns_id
        if apns_id is not None:
            if type(apns_id) is str and UUID.fullmatch(apns_id):
                field = (b"apns-id", apns_id.encode())
            else:
                field = (b"apns-id", uuid_of(apns_id, "apns_id"))
            if push.expiration is None and push.collapse_id is None:
                return (field,)  # pushes of a campaign have no other fields
            fields.append(field)
        if push.expiration is not None:
            fields.append((b"apns-expiration", expiration_of(push.expiration, self.now)))
        if push.collapse_id is not None:
            text: Any = push.collapse_id
            if isinstance(text, uuid.UUID):
                text = str(text)
            if not isinstance(text, str):
                raise InvalidPush("BadCollapseId", f"the collapse_id must be a string, not {kind(text)}")
            if not _COLLAPSE_ID.fullmatch(text) or len(text) > MAX_COLLAPSE_ID:
                raise InvalidPush(
                    "BadCollapseId",
                    f"the collapse_id is not 1 to {MAX_COLLAPSE_ID} printable ASCII characters",
                )
            if text[0] == " " or text[-1] == " ":  # malformed, so the server would reset the stream
                raise InvalidPush(
                    "BadCollapseId",
                    "the collapse_id begins or ends with a blank, which a header must not (RFC 9113, section 8.2.1)",
                )
            fields.append((b"apns-collapse-id", text.encode()))
        return tuple(fields)

    def _topic_for(self, topic: str | None, push_type: PushType) -> str | None:
        """The topic with the suffix of the push type, once."""
        if topic is None:
            topic = self.topic
        if topic is None:
            if not self._token_auth:
                return None  # a certificate of a single topic implies it
            raise InvalidPush(
                "MissingTopic", "neither the push nor the client has a topic", Verdict.MISCONFIGURED
            )
        if not TOPIC.fullmatch(topic):
            raise InvalidPush("BadTopic", "the topic is not a bundle id")
        if not self.takes(topic):
            detail = f"the key is not valid for the topic {topic}"
            raise InvalidPush("TopicDisallowed", detail, Verdict.MISCONFIGURED)
        return topic if topic.endswith(push_type.suffix) else topic + push_type.suffix


def _doubts(push: Notification) -> Iterator[str]:
    """The parts of a payload that have no effect or are of a wrong type. An `Aps` and files have been checked before."""
    payload: Any = push.payload
    if type(payload) is bytes and type(push) is Notification:
        with suppress(orjson.JSONDecodeError):
            content = orjson.loads(payload)
            if type(content) is dict:
                yield from mistyped_parts(content)
                yield from idle_parts(content, push.push_type)
    elif isinstance(payload, Aps):
        if INVISIBLE in idle_parts(payload.to_dict(), push.push_type):
            yield INVISIBLE
    elif type(payload) is dict:
        yield from mistyped_parts(payload)
        yield from idle_parts(payload, push.push_type)
        problem = json_problem(payload, "payload")
        if problem:
            yield problem


def _push_type(given: str | PushType) -> PushType:
    push_type = given if isinstance(given, PushType) else PUSH_TYPES.get(given)
    if push_type is None:
        raise InvalidPush(
            "InvalidPushType",
            f"the push_type is one of {', '.join(PUSH_TYPES)}, or a PushType for a new one, "
            f"not {shown(given)}",
        )
    if not TOPIC.fullmatch(push_type.name) or not (
        push_type.suffix == "" or TOPIC.fullmatch(push_type.suffix)
    ):
        raise InvalidPush(
            "InvalidPushType", "name and suffix of a push type are letters, digits, dots and dashes"
        )
    return push_type
