"""`Aps`: the typed payload of a push to APNs, with its `Alert`, `Localized` and `Sound`.

Facts: "Generating a remote notification" and "Starting and updating Live Activities with ActivityKit push
notifications" at developer.apple.com/documentation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, get_args

from ..arguments import check, check_choice, check_number, check_type, check_whole, kind
from .times import moment_problem, unix_seconds

InterruptionLevel = Literal["passive", "active", "time-sensitive", "critical"]
LiveActivityEvent = Literal["start", "update", "end"]

INTERRUPTION_LEVELS: Final[tuple[str, ...]] = get_args(InterruptionLevel)
EVENTS: Final[tuple[str, ...]] = get_args(LiveActivityEvent)

_ONLY_START: Final = ("attributes_type", "attributes", "input_push_token", "input_push_channel")
_ONLY_END: Final = ("dismissal_date",)
NEEDED: Final = {
    "start": ("timestamp", "content_state", "attributes_type", "attributes", "alert"),
    "update": ("timestamp", "content_state"),
    "end": ("timestamp",),
}


@dataclass(frozen=True, slots=True)
class Localized:
    """A text that the device looks up: in `title` and `body` of a Live Activity's alert.

    Attributes:
        key: of the text in the app's files of translations.
        args: texts for its placeholders.

    Raises:
        ValueError: a field is of a wrong type.
    """

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

    Raises:
        ValueError: a field is of a wrong type, or has arguments without a key.
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
