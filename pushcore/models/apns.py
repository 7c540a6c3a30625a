"""Pushes to APNs: `Notification`, its typed payload (`Aps`, `Alert`, `Sound`) and the table of push types.

Facts: "Sending notification requests to APNs", "Generating a remote notification" and "Starting and updating Live
Activities with ActivityKit push notifications" at developer.apple.com/documentation.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, get_args

from ..arguments import check, check_choice, check_number, check_type, check_whole, kind
from .push_model import PushModel
from .times import moment_problem, unix_seconds

LIMIT: Final = 4096
"""Bytes of a payload, unless the push type says otherwise."""
UNLIMITED: Final = 1 << 20
"""Bytes of a payload whose limit is not known."""
LARGE_LIMIT: Final = 5120
"""Bytes of a VoIP payload, and of a Live Activity's that is sent to a broadcast channel."""

ApnsPushType = Literal[
    "alert",
    "background",
    "location",
    "voip",
    "complication",
    "fileprovider",
    "mdm",
    "liveactivity",
    "pushtotalk",
    "widgets",
    "controls",
    "accessory",
]
"""What `apns-push-type` may be; `PUSH_TYPES` says what each asks of the other fields."""
ApnsPriority = Literal[1, 5, 10]
"""What `apns-priority` may be."""
ApnsEnvironment = Literal["production", "sandbox"]
"""One of Apple's two environments, which have tokens and servers of their own."""
ENVIRONMENTS: Final[tuple[str, ...]] = get_args(ApnsEnvironment)
InterruptionLevel = Literal["passive", "active", "time-sensitive", "critical"]
LiveActivityEvent = Literal["start", "update", "end"]

INTERRUPTION_LEVELS: Final[tuple[str, ...]] = get_args(InterruptionLevel)
EVENTS: Final[tuple[str, ...]] = get_args(LiveActivityEvent)


@dataclass(frozen=True, slots=True)
class PushType:
    """One value of `apns-push-type`, with its rules for the other fields.

    Apple adds one about every year. For a push type that is not in `PUSH_TYPES` yet, set such an object, instead of a name, as
    the push type of a `Notification`.

    `suffix`: what follows the bundle id in `apns-topic`. `limit`: the largest payload to a device, in bytes.
    `priorities`: the allowed values of `apns-priority`. `token_auth_only`: true if a certificate cannot send it.
    """

    name: str
    suffix: str
    limit: int = LIMIT
    priorities: tuple[int, ...] = (1, 5, 10)
    token_auth_only: bool = False

    def __post_init__(self) -> None:
        for name in ("name", "suffix"):
            check_type(name, getattr(self, name), str, "a string", ValueError)
        check_whole("limit", self.limit, least=1, error=ValueError)
        whole = isinstance(self.priorities, tuple) and all(
            type(priority) is int for priority in self.priorities
        )
        check(whole and self.priorities != (), "priorities", "a tuple of ints", self.priorities, ValueError)
        check_type("token_auth_only", self.token_auth_only, bool, "true or false", ValueError)

    @property
    def default_priority(self) -> int | None:
        """The default priority; None for no header, which Apple reads as 10."""
        return None if 10 in self.priorities else self.priorities[-1]


PUSH_TYPES: Final[Mapping[str, PushType]] = MappingProxyType(
    {
        push_type.name: push_type
        for push_type in (
            PushType("alert", ""),
            PushType("background", "", priorities=(5,)),  # 10 is an error, says Apple
            PushType("location", ".location-query", token_auth_only=True),
            PushType("voip", ".voip", limit=LARGE_LIMIT),
            PushType("complication", ".complication"),
            PushType("fileprovider", ".pushkit.fileprovider"),
            PushType(
                "mdm", ""
            ),  # the topic is the UID of the MDM certificate's subject: the user gives it in full
            PushType("liveactivity", ".push-type.liveactivity", priorities=(5, 10)),
            PushType("pushtotalk", ".voip-ptt"),  # Apple gives the larger limit for VoIP only
            PushType("widgets", ".push-type.widgets"),
            PushType("controls", ".push-type.controls"),
            # Apple documents neither its size nor its priorities, so neither is checked.
            PushType("accessory", ".push-type.accessory", limit=UNLIMITED),
        )
    }
)
"""The twelve push types by name."""


def push_type_of(payload: Mapping[str, Any]) -> ApnsPushType:
    """The push type that suits a payload (a dict); "alert" if its keys do not say."""
    aps = payload.get("aps")
    if not isinstance(aps, Mapping):
        return "mdm" if "mdm" in payload else "alert"
    if aps.get("event") is not None:
        return "liveactivity"
    if "encryptedData" in aps:
        return "accessory"
    if aps.get("content-available") and not any(
        aps.get(key) is not None for key in ("alert", "badge", "sound")
    ):
        return "background"
    return "alert"


class Notification(PushModel):
    """One push to one device.

    Nothing is checked here, because there may be millions. If a push is wrong, its `Result` says so.

    Args:
        token: the device token, hexadecimal, of any length.
        payload: the root object as a dict, as JSON in bytes, or an `Aps`. Bytes that are no JSON are INVALID if they are the first of a burst,
            as the only push of `client.send` is, or shared by its pushes; of other bytes only the first and the last character are checked.
        topic: replaces the client's topic; write it in full, with its suffix.
        push_type: a key of `PUSH_TYPES`, or a `PushType` that is not in it yet. None for the one that follows from
            the payload, see `push_type_of`, otherwise "alert"; it is "alert" for bytes, which are not read here.
        priority: 1, 5 or 10; None for the push type's default.
        expiration: the time until which APNs may store it, in UNIX seconds or as an aware datetime; 0 for a single
            attempt; a timedelta counts from the moment when the client takes the push; None leaves it to APNs.
        collapse_id: at most 64 bytes.
        apns_id: a `uuid.UUID`, or its text in lower case; with None APNs makes one.
        environment: "production" or "sandbox", if you know which one the token belongs to. With None the push goes
            to the first client of an engine, see `PushEngine`.
    """

    __slots__ = (
        "apns_id",
        "collapse_id",
        "environment",
        "expiration",
        "payload",
        "priority",
        "push_type",
        "token",
        "topic",
    )

    identifiers: ClassVar[tuple[str, ...]] = ("token", "apns_id")

    def __init__(
        self,
        token: str,
        payload: dict[str, Any] | bytes | Aps,
        *,
        topic: str | None = None,
        push_type: ApnsPushType | PushType | None = None,
        priority: ApnsPriority | None = None,
        expiration: int | datetime | timedelta | None = None,
        collapse_id: str | None = None,
        apns_id: str | uuid.UUID | None = None,
        environment: ApnsEnvironment | None = None,
    ) -> None:
        if push_type is None:
            push_type = "alert"
            # Spelt out, for most payloads are an alert and a call would cost more than all the rest here.
            if type(payload) is dict:
                aps = payload.get("aps")
                if type(aps) is not dict or "alert" not in aps or "event" in aps:
                    push_type = push_type_of(payload)
            elif isinstance(payload, Aps):
                push_type = push_type_of(payload.to_dict())
        self.token = token
        self.payload = payload
        self.topic = topic
        self.push_type = push_type
        self.priority = priority
        self.expiration = expiration
        self.collapse_id = collapse_id
        self.apns_id = apns_id
        self.environment = environment

    def __repr__(self) -> str:
        token = str(self.token)
        words = [token if len(token) <= 8 else token[:8] + "…", f"push_type={self.push_type!r}"]
        for name in ("topic", "priority", "expiration", "collapse_id", "apns_id", "environment"):
            value = getattr(self, name)
            if value is not None:
                words.append(f"{name}={value!r}")
        return f"<Notification {' '.join(words)}>"


@dataclass(frozen=True, slots=True)
class Broadcast(PushModel):
    """One push to all devices that follow a channel: an update or the end of a Live Activity.

    `channel_id`: as APNs gave it. `payload`: as in `Notification`, at most 5120 bytes. `topic`: the bundle id of the app;
    None for the client's. `expiration`: as in `Notification`, for a channel that stores its newest message; 0 is a single
    attempt, and the only value for other channels. `priority`: 10 is at once, 5 and 1 save the device's power.
    `request_id`: as `Notification.apns_id`.

    Source: "Sending broadcast push notification requests to APNs". Nothing is checked here, as in `Notification`.
    """

    identifiers: ClassVar[tuple[str, ...]] = ("channel_id", "request_id")

    channel_id: str
    payload: dict[str, Any] | bytes | Aps
    _: KW_ONLY
    topic: str | None = None
    expiration: int | datetime | timedelta = 0
    priority: ApnsPriority = 10
    request_id: str | uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Localized:
    """A text that the device looks up: in `title` and `body` of a Live Activity's alert."""

    key: str
    args: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_type("key", self.key, str, "a string", ValueError)
        _check_strings("args", self.args)

    def to_dict(self) -> dict[str, Any]:
        """The object {"loc-key", "loc-args"}."""
        return {"loc-key": self.key, "loc-args": list(self.args)} if self.args else {"loc-key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """The object `alert`. Each field is the key of the same name, with "-" instead of "_"; None leaves it out.

    `sound` belongs here in Live Activities only. The last four fields are for older systems.
    """

    title: str | Localized | None = None
    subtitle: str | None = None
    body: str | Localized | None = None
    launch_image: str | None = None
    title_loc_key: str | None = None
    title_loc_args: Sequence[str] | None = None
    subtitle_loc_key: str | None = None
    subtitle_loc_args: Sequence[str] | None = None
    loc_key: str | None = None
    loc_args: Sequence[str] | None = None
    sound: str | None = None
    action: str | None = None
    action_loc_key: str | None = None
    summary_arg: str | None = None
    summary_arg_count: int | None = None

    def __post_init__(self) -> None:
        for name in ("title", "body"):
            _check_optional(self, name, (str, Localized, Mapping), "a string or a Localized")
        for name in (
            "subtitle", "launch_image", "title_loc_key", "subtitle_loc_key", "loc_key", "sound", "action",
            "action_loc_key", "summary_arg",
        ):  # fmt: skip
            _check_optional(self, name, str, "a string")
        for name in ("title_loc_args", "subtitle_loc_args", "loc_args"):
            if getattr(self, name) is not None:
                _check_strings(name, getattr(self, name))
        if self.summary_arg_count is not None:
            check_whole("summary_arg_count", self.summary_arg_count, least=0, error=ValueError)
        for name in ("title_loc", "subtitle_loc", "loc"):
            if getattr(self, f"{name}_args") is not None and getattr(self, f"{name}_key") is None:
                raise ValueError(f"{name}_args needs {name}_key")

    def to_dict(self) -> dict[str, Any]:
        """The object as it stands in the payload."""
        return _to_dict(self)


@dataclass(frozen=True, slots=True)
class Sound:
    """The object `sound`, for critical alerts; any other sound is a plain string. `volume`: 0 to 1."""

    name: str = "default"
    _: KW_ONLY
    critical: bool = False
    volume: float | None = None

    def __post_init__(self) -> None:
        check_type("name", self.name, str, "a string", ValueError)
        check_type("critical", self.critical, bool, "true or false", ValueError)
        if self.volume is not None:
            check_number("volume", self.volume, error=ValueError)
            check(0 <= self.volume <= 1, "volume", "from 0 to 1", self.volume, ValueError)

    def to_dict(self) -> dict[str, Any]:
        """The object as it stands in the payload."""
        return _to_dict(self)


@dataclass(frozen=True, slots=True)
class Aps:
    """A payload: the object `aps`, and in `custom` the keys beside it. None (for a flag: False) leaves a key out.

    Each field except `custom` is the key of the same name, with "-" instead of "_". `alert`: a string is the body. `badge`: 0 removes
    it. `content_changed`: of the push types widgets and controls. `relevance_score`: 0 to 1, in Live Activities any number. From `timestamp` on, the fields are those of Live
    Activities, which must have an `event`; times are UNIX seconds or aware datetimes, of which the seconds are kept. Flags may be
    given as 1 and 0, as Apple writes them. `url_args`: Safari's, of older systems.
    MDM has no `aps`: pass {"mdm": magic} as a dict.

    Raises:
        ValueError: a value, or a combination of values, that Apple does not know.
    """

    alert: str | Alert | None = None
    _: KW_ONLY
    badge: int | None = None
    sound: str | Sound | None = None
    thread_id: str | None = None
    category: str | None = None
    content_available: bool = False
    content_changed: bool = False
    mutable_content: bool = False
    target_content_id: str | None = None
    interruption_level: InterruptionLevel | None = None
    relevance_score: float | None = None
    filter_criteria: str | None = None
    url_args: Sequence[str] | None = None
    timestamp: int | datetime | None = None
    event: LiveActivityEvent | None = None
    content_state: Mapping[str, Any] | None = None
    stale_date: int | datetime | None = None
    dismissal_date: int | datetime | None = None
    attributes_type: str | None = None
    attributes: Mapping[str, Any] | None = None
    input_push_token: bool = False
    input_push_channel: str | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_types()
        if self.mutable_content and self.alert is None:
            raise ValueError("mutable_content needs an alert: without it no service extension runs")
        self._check_relevance()
        self._check_live_activity()
        for name in ("timestamp", "stale_date", "dismissal_date"):
            value = getattr(self, name)
            if value is not None and (problem := moment_problem(value)):
                raise ValueError(f"{name} {problem}")
        if "aps" in self.custom:
            raise ValueError('custom must not contain "aps"')

    def _check_types(self) -> None:
        """The type of each field, with flags and times as they go out."""
        _check_optional(self, "alert", (str, Alert, Mapping), "a string or an Alert")
        _check_optional(self, "sound", (str, Sound, Mapping), "a string or a Sound")
        if self.badge is not None:
            check_whole("badge", self.badge, least=0, error=ValueError)
        for name in (
            "thread_id", "category", "target_content_id", "filter_criteria", "attributes_type", "input_push_channel",
        ):  # fmt: skip
            _check_optional(self, name, str, "a string")
        for name in ("content_available", "content_changed", "mutable_content", "input_push_token"):
            flag = getattr(self, name)
            if type(flag) is int and flag in (0, 1):
                object.__setattr__(self, name, bool(flag))
            else:
                check_type(name, flag, bool, "true or false", ValueError)
        for name in ("content_state", "attributes"):
            _check_optional(self, name, Mapping, "a dict")
        check_type("custom", self.custom, Mapping, "a dict", ValueError)
        if self.url_args is not None:
            _check_strings("url_args", self.url_args)
        for name in ("timestamp", "stale_date", "dismissal_date"):
            moment = getattr(self, name)
            if isinstance(moment, datetime):
                try:
                    object.__setattr__(self, name, unix_seconds(moment))
                except ValueError as error:
                    raise ValueError(f"{name} {error}") from None
        for name, choices in (("interruption_level", INTERRUPTION_LEVELS), ("event", EVENTS)):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices, ValueError)

    def _check_relevance(self) -> None:
        score = self.relevance_score
        if score is None:
            return
        check_number("relevance_score", score, error=ValueError)
        if self.event is None and not 0 <= score <= 1:
            raise ValueError(f"relevance_score must be from 0 to 1 outside Live Activities, not {score!r}")

    def _check_live_activity(self) -> None:
        if self.event is None:
            for name in ("timestamp", "content_state", "stale_date", *_ONLY_START, *_ONLY_END):
                if _given(getattr(self, name)):
                    raise ValueError(f"{name} is for Live Activities and needs an event: {', '.join(EVENTS)}")
            return
        for needed in NEEDED[self.event]:
            if not _given(getattr(self, needed)):
                raise ValueError(f"a Live Activity's {self.event} needs {needed}")
        for owner, names in (("start", _ONLY_START), ("end", _ONLY_END)):
            for name in names:
                if self.event != owner and _given(getattr(self, name)):
                    raise ValueError(f"{name} belongs to a Live Activity's {owner}, not to its {self.event}")

    def to_dict(self) -> dict[str, Any]:
        """The payload as a dict: {"aps": {...}} and the keys of `custom`."""
        return {"aps": _to_dict(self), **self.custom}


_ONLY_START: Final = ("attributes_type", "attributes", "input_push_token", "input_push_channel")
_ONLY_END: Final = ("dismissal_date",)
NEEDED: Final = {
    "start": ("timestamp", "content_state", "attributes_type", "attributes", "alert"),
    "update": ("timestamp", "content_state"),
    "end": ("timestamp",),
}


def _check_optional(part: Alert | Aps, name: str, classes: type | tuple[type, ...], expected: str) -> None:
    value = getattr(part, name)
    if value is not None:
        check_type(name, value, classes, expected, ValueError)


def _check_strings(name: str, value: object) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ValueError(f"{name} must be a list of strings, not {kind(value)}")
    for item in value:
        check_type(f"each of {name}", item, str, "a string", ValueError)


def _given(value: Any) -> bool:
    return value is not None and value is not False


def _to_dict(source: Alert | Sound | Aps) -> dict[str, Any]:
    fields = {}
    for name in source.__slots__:
        value = getattr(source, name)
        if name == "custom" or not _given(value):
            continue
        if isinstance(value, Alert | Sound | Localized):
            value = value.to_dict()
        elif value is True:
            value = 1 if name != "content_changed" else True  # Apple's one flag that is no number
        elif isinstance(value, Mapping):
            value = dict(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = list(value)
        fields[name.replace("_", "-")] = value
    return fields
