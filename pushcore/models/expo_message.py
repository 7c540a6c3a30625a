"""`ExpoMessage`: a push in the format of Expo's push service.

Source: "Message request format" of "Send notifications with the Expo Push Service" at docs.expo.dev.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal, Self, cast, get_args

from .apns import INTERRUPTION_LEVELS, InterruptionLevel
from .json_values import json_problem
from .push_model import PushModel
from .times import expiration_problem, lifetime_seconds, unix_seconds
from .warned import warn_once

ExpoPriority = Literal["default", "normal", "high"]
PRIORITIES: Final[tuple[str, ...]] = get_args(ExpoPriority)
TEXTS: Final = (
    "title", "subtitle", "body", "channelId", "categoryId", "icon", "link", "collapse_key", "collapseId", "tag",
    "color", "threadId", "launchImage", "targetContentId", "filterCriteria",
)  # fmt: skip
"""The fields that are texts, or absent."""
_FLAGS: Final = ("mutableContent", "contentAvailable", "sticky", "autoDismiss")
_OLD_NAMES: Final = {"_contentAvailable": "contentAvailable", "_category": "categoryId"}
_IGNORED: Final = frozenset({"_displayInForeground"})  # deprecated, of Expo Go


@dataclass(frozen=True, slots=True)
class ExpoMessage(PushModel):
    """A message in Expo's format; the fields have Expo's names, and None leaves one out.

    `to`: one token or several. `data`: the app's own object. `sound`: "default", the name of a sound, or an object
    {"critical", "name", "volume"} for iOS. `ttl`: seconds or a timedelta; it goes before `expiration`, UNIX seconds, an aware datetime, or a timedelta
    that is a `ttl`. `priority`:
    "default" (normal on Android, high on iOS), "normal" or "high". `richContent`: {"image": URL}; iOS shows it with a
    service extension of the app, Android unless the message is data alone. `contentAvailable` was `_contentAvailable`
    until 2026. `collapse_key` (Android) and `collapseId` (iOS) stand in for each other; `tag`: on Android, the
    notification with the same tag is replaced. `targetContentId`, `relevanceScore` (0 to 1) and `filterCriteria`: iOS.

    From `color` on, the fields are not Expo's service's but are read by the app (Android) or by iOS.

    Raises:
        ValueError: a value that no platform could take; the sentence names the field.
    """

    identifiers: ClassVar[tuple[str, ...]] = ("to",)

    to: str | Sequence[str] | None = None
    _: KW_ONLY
    title: str | None = None
    subtitle: str | None = None
    body: str | None = None
    data: Mapping[str, Any] | None = None
    sound: str | Mapping[str, Any] | None = None
    badge: int | None = None
    channelId: str | None = None
    categoryId: str | None = None
    priority: ExpoPriority | None = None
    ttl: int | float | timedelta | None = None
    expiration: int | float | datetime | timedelta | None = None
    icon: str | None = None
    link: str | None = None
    collapse_key: str | None = None
    collapseId: str | None = None
    tag: str | None = None
    mutableContent: bool | None = None
    contentAvailable: bool | None = None
    interruptionLevel: InterruptionLevel | None = None
    richContent: Mapping[str, Any] | None = None
    targetContentId: str | None = None
    relevanceScore: int | float | None = None
    filterCriteria: str | None = None
    color: str | None = None
    vibrate: bool | Sequence[int] | None = None
    sticky: bool | None = None
    autoDismiss: bool | None = None
    threadId: str | None = None
    launchImage: str | None = None

    def __post_init__(self) -> None:
        self._convert_times()
        for name in TEXTS:
            self._check(name, str, "a string")
        for name in _FLAGS:
            self._check(name, bool, "true or false")
        for name in ("data", "richContent"):
            self._check(name, Mapping, "an object")
        if self.data is not None and (problem := json_problem(self.data, "data")):
            raise ValueError(problem)
        if self.richContent is not None and not isinstance(self.richContent.get("image"), str | None):
            raise ValueError(f"richContent.image must be a URL, not {self.richContent['image']!r:.60}")
        self._check("sound", (str, Mapping), "a string or an object")
        self._check_sound_and_recipients()
        for name in ("badge", "ttl", "expiration"):
            value = getattr(self, name)
            number = type(value) in (int, float) and math.isfinite(value) and value >= 0
            if value is not None and (not number or (name == "badge" and type(value) is not int)):
                raise ValueError(f"{name} must be a number from 0 on, not {value!r:.60}")
        if self.expires and self.ttl is None and (problem := expiration_problem(self.expires)):
            raise ValueError(f"expiration {problem}")
        if self.priority is not None and self.priority not in PRIORITIES:
            raise ValueError(f"priority must be one of {', '.join(PRIORITIES)}, not {self.priority!r:.60}")
        if self.interruptionLevel is not None and self.interruptionLevel not in INTERRUPTION_LEVELS:
            levels = ", ".join(INTERRUPTION_LEVELS)
            raise ValueError(f"interruptionLevel must be one of {levels}, not {self.interruptionLevel!r:.60}")
        score = self.relevanceScore
        if score is not None and (type(score) not in (int, float) or not 0 <= score <= 1):
            raise ValueError(f"relevanceScore must be a number from 0 to 1, not {score!r:.60}")
        vibrate = self.vibrate
        if isinstance(vibrate, list | tuple) and all(type(milliseconds) is int for milliseconds in vibrate):
            return
        self._check("vibrate", bool, "true, false or a list of milliseconds")

    def _convert_times(self) -> None:
        """A timedelta becomes seconds, a datetime UNIX seconds."""
        if isinstance(self.ttl, timedelta):
            object.__setattr__(self, "ttl", lifetime_seconds(self.ttl))
        if isinstance(self.expiration, timedelta):
            if self.ttl is None:
                object.__setattr__(self, "ttl", lifetime_seconds(self.expiration))
            object.__setattr__(self, "expiration", None)
        elif isinstance(self.expiration, datetime):
            try:
                object.__setattr__(self, "expiration", unix_seconds(self.expiration))
            except ValueError as error:
                raise ValueError(f"expiration {error}") from None

    def _check_sound_and_recipients(self) -> None:
        if isinstance(self.sound, Mapping):
            name, volume = self.sound.get("name"), self.sound.get("volume")
            if name is not None and not isinstance(name, str):
                raise ValueError(f"sound.name must be a string, not {name!r:.60}")
            if volume is not None and (type(volume) not in (int, float) or not 0 <= volume <= 1):
                raise ValueError(f"sound.volume must be from 0 to 1, not {volume!r:.60}")
        if isinstance(self.to, list | tuple) and all(isinstance(token, str) for token in self.to):
            return
        self._check("to", str, "a token or a list of tokens")

    def _check(self, name: str, kind: type | tuple[type, ...], what: str) -> None:
        value = getattr(self, name)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{name} must be {what}, not {value!r:.60}")

    @classmethod
    def from_dict(cls, source: Mapping[str, Any], *, strict: bool = False) -> Self:
        """The message in Expo's JSON.

        Args:
            source: The object. Where it has a key under its name of today and its old one, today's wins.
            strict: Refuse keys that Expo is not known to take. Otherwise they are left out, with one warning each: Expo
                adds some every year.

        Raises:
            ValueError: it is no object, has a value that no platform could take, or with `strict` an unknown key.
        """
        if not isinstance(source, Mapping):
            raise ValueError(f"a message of Expo's is a JSON object, not {type(source).__name__}")
        for key in unknown_keys(source):
            if strict:
                raise ValueError(f"unknown key {shown_key(key)} in the message of Expo's")
            warn_once(f"a message in Expo's format has the unknown key {shown_key(key)}, which is left out")
        fields = {key: value for key, value in source.items() if key in _FIELDS}
        for old, name in _OLD_NAMES.items():
            if fields.get(name) is None and old in source:
                fields[name] = source[old]
        return cls(**fields)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The tokens in `to`."""
        if self.to is None:
            return ()
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    @property
    def lifetime(self) -> int | float | None:
        """Seconds for which it may be kept, where `ttl` says so."""
        return cast("int | float | None", self.ttl)

    @property
    def expires(self) -> int | float | None:
        """UNIX seconds until which it may be kept, where `expiration` says so."""
        return cast("int | float | None", self.expiration)

    @property
    def visible(self) -> bool:
        """Whether it has a title or a body, without which Android shows nothing."""
        return bool(self.title or self.body)

    @property
    def image(self) -> str | None:
        """The URL of the picture to show."""
        return None if self.richContent is None else self.richContent.get("image") or None


_FIELDS: Final = frozenset(ExpoMessage.__slots__)
_KEYS: Final = _FIELDS | _OLD_NAMES.keys() | _IGNORED


def unknown_keys(source: Mapping[str, Any]) -> list[str]:
    """The keys of a message in Expo's JSON that Expo is not known to take."""
    return [key for key in source if key not in _KEYS]


def shown_key(key: object) -> str:
    """A key for a sentence."""
    return repr(str(key)[:60])
