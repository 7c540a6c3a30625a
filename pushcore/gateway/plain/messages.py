"""The plain dialect's messages: from JSON to a push and its sender, and from a `Result` to JSON."""

from __future__ import annotations

import itertools
import time
from binascii import unhexlify
from typing import Annotated, Any, Final, Literal

import orjson
from msgspec import Meta, Struct
from msgspec.structs import astuple

from ...audience.problems import BadRow
from ...models.apns import PUSH_TYPES, ApnsPriority, ApnsPushType, Broadcast, Notification
from ...models.expo import ExpoMessage, message_fields, to_notification
from ...models.fcm import Message
from ...models.tokens import APNS_LENGTH
from ...payloads.apns_rows import id_prefix
from ...payloads.devices import APNS, APNS_WORDS, FCM, find_device
from ...payloads.foreign import foreign_format
from ...results import ACCEPTED, Result, Verdict
from ..apps import App
from ..config import Environment
from ..problems import GatewayProblem
from ..senders import AppSender

Platform = Literal["ios", "android", "apns", "fcm"]
Format = Literal["auto", "expo", "apns", "fcm"]
Key = Annotated[str, Meta(max_length=200)]

CHECKED: Final = "checked, and not sent"
"""What the result of a push to APNs with `validate_only` says; FCM checks such messages itself."""
_BOTH: Final = frozenset((APNS, FCM))
_OF_FCM: Final = frozenset(
    ("notification", "android", "webpush", "apns", "fcm_options", "fcmOptions", "android_v2", "androidV2")
)
_OF_EXPO: Final = frozenset(("title", "body", "subtitle", "richContent", "channelId", "_contentAvailable"))


_ID_PREFIX: Final = id_prefix()
_numbers: Final = itertools.count(1)


class PushRequest(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One push: one target, and a payload in Expo's format, APNs', FCM's, or `{"apns": …, "fcm": …}`.

    `to`: a token, or the object that getDevicePushTokenAsync returned. `fcm_topic`, `condition`: a topic or a condition of FCM.
    `channel`: a channel of APNs' broadcasts, in base64. `app`: id of the app; required if the caller may use several.
    `platform`: of the token, if its form is ambiguous. `topic`: for APNs. `ref`: any text; the result repeats it.
    """

    payload: dict[str, Any]
    to: str | dict[str, Any] | None = None
    app: Annotated[str, Meta(max_length=64)] | None = None
    ref: Annotated[str, Meta(max_length=256)] | None = None
    platform: Platform | None = None
    # From here on: `_NO_OPTIONS`.
    fcm_topic: Key | None = None
    condition: Annotated[str, Meta(max_length=1000)] | None = None
    channel: Key | None = None
    format: Format = "auto"
    environment: Environment | None = None
    topic: Key | None = None
    push_type: Key | None = None
    priority: int | None = None
    expiration: int | None = None
    collapse_id: Key | None = None
    apns_id: Key | None = None
    validate_only: bool = False


_OPTIONS: Final = 5
_NO_OPTIONS: Final = astuple(PushRequest({}))[_OPTIONS:]
"""The options of most requests: the values of all fields from number `_OPTIONS` on."""
_new: Final = Notification.__new__


class BadPush(ValueError):
    """Why one push cannot be sent; the others of its request can."""


Addressed = tuple[AppSender, Any]
"""A push with its sender."""


def address(app: App, request: PushRequest) -> Addressed:
    """The push of a request and the sender that it goes through.

    Raises:
        BadPush: it cannot be sent; one sentence.
    """
    to: Any = request.to
    try:
        of_apns = type(to) is str and len(to) == APNS_LENGTH and request.platform in APNS_WORDS
        if of_apns and app.first is not None and astuple(request)[_OPTIONS:] == _NO_OPTIONS:
            push = _usual(to, request.payload)
            if push is not None:
                return app.first, push
        if to is None or not (
            request.fcm_topic is None and request.condition is None and request.channel is None
        ):
            return _to_many(app, request)
        if of_apns:
            try:
                unhexlify(to)  # the cheapest check of the usual token
            except ValueError:
                pass
            else:
                return _to_apns(app, request, to)
        device = find_device(to, request.platform)
        if device.platform == APNS:
            return _to_apns(app, request, device.token)
        return _to_fcm(app, request, {"fid" if device.fid else "token": device.token})
    except GatewayProblem as problem:
        raise BadPush(problem.detail) from None
    except (BadRow, ValueError, TypeError) as error:
        raise BadPush(str(error)) from None


def _usual(token: str, payload: Any) -> Notification | None:
    """What `_to_apns` makes of a request that has no options, for an alert in APNs' format: nearly all there are.

    None where it is not one of these, or the token not one of APNs.
    """
    aps = payload.get("aps")
    if type(aps) is not dict or "alert" not in aps or "event" in aps:
        return None
    try:
        unhexlify(token)  # the cheapest check
    except ValueError:
        return None
    push = _new(Notification)
    push.token = token
    push.payload = payload
    push.push_type = "alert"
    push.topic = push.priority = push.expiration = push.collapse_id = push.environment = None
    push.apns_id = f"{_ID_PREFIX}{next(_numbers):012x}"
    return push


def _to_many(app: App, request: PushRequest) -> Addressed:
    targets = (request.to, request.fcm_topic, request.condition, request.channel)
    if targets.count(None) != 3:
        raise BadPush("expected exactly one of to, fcm_topic, condition and channel")
    if request.channel is not None:
        return _broadcast(app, request, request.channel)
    return _to_fcm(app, request, {"topic": request.fcm_topic, "condition": request.condition})


def format_of(payload: dict[str, Any], platform: str) -> str:
    """The format of a payload for one provider, from its keys. Raises `BadPush` where they do not tell."""
    if "aps" in payload or "mdm" in payload:
        return APNS
    keys = payload.keys()
    if "message" in keys or not keys.isdisjoint(_OF_FCM):
        return FCM
    if not keys.isdisjoint(_OF_EXPO):
        return "expo"
    if platform == FCM and keys == {"data"}:
        return FCM
    foreign = foreign_format(payload)
    if foreign:
        raise BadPush(f"the payload {foreign}")
    raise BadPush("the payload may be in several formats; expected format in the request: expo, apns or fcm")


def _payload(request: PushRequest, platform: str) -> tuple[dict[str, Any], str]:
    """The payload for a provider, and its format."""
    payload: Any = request.payload
    format: str = request.format
    if format == "auto":
        if payload and payload.keys() <= _BOTH and (FCM in payload or _has_aps(payload[APNS])):
            payload = payload.get(platform)
            if not isinstance(payload, dict):
                raise BadPush(f"the payload has no {platform}, and the target belongs to {platform}")
            return payload, platform
        format = format_of(payload, platform)
    if format not in ("expo", platform):
        raise BadPush(f"the payload is in the format of {format}, and the target belongs to {platform}")
    return payload, format


def _has_aps(payload: Any) -> bool:
    return type(payload) is dict and "aps" in payload


def _to_apns(app: App, request: PushRequest, token: str) -> Addressed:
    sender = app.first
    if sender is None or request.environment is not None or request.topic is not None:
        sender = app.apns(request.environment, request.topic)
    payload: Any = request.payload
    if request.format == APNS or (request.format == "auto" and "aps" in payload):
        format = APNS
    else:
        payload, format = _payload(request, APNS)
    if format == APNS:
        push = Notification(token, payload, topic=request.topic)
    else:
        push = to_notification(ExpoMessage.from_dict(payload), token, topic=request.topic, now=time.time())
    if request.push_type is not None:
        push.push_type = push_type(request) or push.push_type
    if request.priority is not None:
        push.priority = priority_of(request)
    if request.expiration is not None:
        push.expiration = request.expiration
    if request.collapse_id is not None:
        push.collapse_id = request.collapse_id
    # Ours unless given: to find APNs' in its response would cost more than all the rest.
    push.apns_id = f"{_ID_PREFIX}{next(_numbers):012x}" if request.apns_id is None else request.apns_id
    return sender, push


def push_type(request: PushRequest) -> ApnsPushType | None:
    """The push type that was asked for. Raises `BadPush` for one that APNs does not have."""
    name: Any = request.push_type
    if name is not None and name not in PUSH_TYPES:
        raise BadPush(f"unknown push_type; expected one of {', '.join(PUSH_TYPES)}")
    return name  # type: ignore[no-any-return]


def priority_of(request: PushRequest) -> ApnsPriority | None:
    """The priority that was asked for. Raises `BadPush` for one that APNs does not have."""
    if request.priority not in (None, 1, 5, 10):
        raise BadPush("expected priority 1, 5 or 10")
    return request.priority  # type: ignore[return-value]


def _to_fcm(app: App, request: PushRequest, target: dict[str, str | None]) -> Addressed:
    sender = app.to_fcm()
    payload, format = _payload(request, FCM)
    if format == "expo":
        message = Message(
            **message_fields(ExpoMessage.from_dict(payload), android=app.section.android, now=time.time())
        )
    else:
        message = Message.from_dict(payload)
        if message.token or message.fid or message.topic or message.condition:
            raise BadPush("the payload contains a target; expected it only in the request")
    for name, value in target.items():
        if value is not None:
            setattr(message, name, value)
    if request.validate_only:
        message.validate_only = True
    return sender, message


def _broadcast(app: App, request: PushRequest, channel: str) -> Addressed:
    sender = app.apns(request.environment, request.topic)
    payload, format = _payload(request, APNS)
    if format != APNS:
        raise BadPush("a broadcast's payload is in APNs' format")
    return sender, Broadcast(
        channel,
        payload,
        topic=request.topic,
        priority=priority_of(request) or 10,
        expiration=request.expiration or 0,
    )


def invalid(detail: str, push: Any = None) -> Result:
    """The result of a push that cannot be sent."""
    return Result(push, Verdict.INVALID, detail=detail)


def result_json(result: Result, ref: str | None = None) -> dict[str, Any]:
    """The JSON of a result, without the push: the caller knows it, by its place or its `ref`."""
    if result.verdict is ACCEPTED:
        push = result.push
        # The one that was sent, see `_to_apns`.
        id = push.apns_id if type(push) is Notification else result.id
        answer: dict[str, Any] = {"verdict": "ACCEPTED", "status": 200, "id": id or result.id}
    else:
        answer = result.to_dict()
        del answer["push"]
        answer["drop_token"] = result.drop_token
        answer = {name: value for name, value in answer.items() if value is not None}
    if ref is not None:
        answer["ref"] = ref
    return answer


def result_text(result: Result, ref: str | None, start: str = "{") -> str:
    """`result_json` as text, made in one step for most pushes; `start`: the brace, and members before those of the result."""
    push = result.push
    if (
        result.verdict is ACCEPTED
        and ref is None
        and type(push) is Notification
        and type(push.apns_id) is str
    ):
        # Of letters, digits and dashes, or APNs' client would not have sent it.
        return f'{start}"verdict":"ACCEPTED","status":200,"id":"{push.apns_id}"}}'
    return start + orjson.dumps(result_json(result, ref)).decode()[1:]
