"""`ExpoMessage`: a push in the format of Expo's push service.

Source: "Message request format" of "Send notifications with the Expo Push Service" at docs.expo.dev.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal, Self, get_args

import orjson

from ..arguments import check_number, json_kind, json_shown, shown
from .aps import INTERRUPTION_LEVELS, InterruptionLevel
from .json_values import json_problem
from .push_model import PushModel
from .times import expiration_problem, lifetime_seconds, unit_problem, unix_seconds
from .warned import warn_once

ExpoPriority = Literal["default", "normal", "high"]
PRIORITIES: Final[tuple[str, ...]] = get_args(ExpoPriority)
TEXTS: Final = (
    "title", "subtitle", "body", "channelId", "categoryId", "icon", "link", "collapse_key", "collapseId", "tag",
    "color", "threadId", "launchImage", "targetContentId", "filterCriteria",
)  # fmt: skip
"""The fields that are texts, or absent."""
_TEXTS: Final = frozenset(TEXTS)
_TIMES: Final = ("ttl", "expiration")
_FLAGS: Final = ("mutableContent", "contentAvailable", "sticky", "autoDismiss")
_OLD_NAMES: Final = {"_contentAvailable": "contentAvailable", "_category": "categoryId"}
_IGNORED: Final = frozenset({"_displayInForeground"})  # deprecated, of Expo Go


@dataclass(frozen=True)
class ExpoMessage(PushModel):
    """A message in Expo's format; the fields have Expo's names, and None leaves one out.

    `to`: one token or several. `data`: the app's own object. `sound`: "default", the name of a sound, or an object
    {"critical", "name", "volume"} for iOS. `ttl`: seconds or a timedelta. `expiration`: UNIX seconds, an aware datetime, or a timedelta
    that is a `ttl`; a `ttl` overrides it. `priority`:
    "default" (normal on Android, high on iOS), "normal" or "high". `richContent`: {"image": URL}; iOS shows it with a
    service extension of the app, Android unless the message is data alone. `contentAvailable` was `_contentAvailable`
    until 2026. Each of `collapse_key` (Android) and `collapseId` (iOS) is used for the other if that one is missing; `tag`: on
    Android, the notification with the same tag is replaced. `targetContentId`, `relevanceScore` (0 to 1), `filterCriteria`: iOS.

    From `color` on, the fields are unknown to Expo's service; the app (Android) or iOS reads them.

    Raises:
        ValueError: a value that no platform accepts; the message names the field.
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
        # What is given alone, so that a message costs what it says: the rest is None in the class.
        held = vars(self)
        given = {name: value for name, value in held.items() if value is not None}
        _check_given(given, list(given))
        held.clear()
        held.update(given)

    @classmethod
    def from_dict(cls, source: Mapping[str, Any], *, strict: bool = False) -> Self:
        """The message in Expo's JSON.

        Args:
            source: the object. If it has a key under its present name and its old one, the present one counts.
            strict: whether unknown keys are an error. Otherwise they are left out, with one warning each: Expo adds some every
                year.

        Raises:
            ValueError: it is no object, has a value that no platform accepts, or with `strict` an unknown key.
        """
        if type(source) is not dict and not isinstance(source, Mapping):
            raise ValueError(f"a message in Expo's format is a JSON object, not {json_kind(source)}")
        given: dict[str, Any] = {}
        to_check: list[str] = []
        for key, value in source.items():
            if key in _TEXTS and type(value) is str:  # most are
                given[key] = value
            elif key in _FIELDS:
                if value is not None:
                    given[key] = value
                    to_check.append(key)
            elif key in _OLD_NAMES:
                if source.get(_OLD_NAMES[key]) is None and value is not None:
                    given[_OLD_NAMES[key]] = value
                    to_check.append(_OLD_NAMES[key])
            elif key not in _IGNORED:
                if strict:
                    raise ValueError(f"unknown key {shown_key(key)} in the message in Expo's format")
                warn_once(
                    f"a message in Expo's format has the unknown key {shown_key(key)}, which is left out"
                )
        if cls is not ExpoMessage:
            return cls(**given)
        _check_given(given, to_check)
        message = object.__new__(cls)
        vars(message).update(given)
        return message

    @property
    def recipients(self) -> tuple[str, ...]:
        """The tokens in `to`."""
        if self.to is None:
            return ()
        return (self.to,) if isinstance(self.to, str) else tuple(self.to)

    @property
    def lifetime(self) -> int | float | None:
        """Seconds for which the provider may store it, from `ttl`; None if there is none."""
        return self.ttl  # type: ignore[return-value]  # seconds by now

    @property
    def expires(self) -> int | float | None:
        """UNIX seconds until which the provider may store it, from `expiration`; None if there is none."""
        return self.expiration  # type: ignore[return-value]  # seconds by now

    @property
    def visible(self) -> bool:
        """Whether it has a title or a body, without which Android shows nothing."""
        return bool(self.title or self.body)

    @property
    def image(self) -> str | None:
        """The URL of the image."""
        return None if self.richContent is None else self.richContent.get("image") or None


_FIELDS: Final = frozenset(field.name for field in fields(ExpoMessage))
_KEYS: Final = _FIELDS | _OLD_NAMES.keys() | _IGNORED


def unknown_keys(source: Mapping[str, Any]) -> list[str]:
    """The keys of a message in Expo's JSON that Expo is not known to take."""
    return [key for key in source if key not in _KEYS]


def shown_key(key: object) -> str:
    """A key for a sentence."""
    return shown(str(key))


# --- checks -----------------------------------------------------------------------------------------------------------


def _check_given(given: dict[str, Any], names: Iterable[str]) -> None:
    """Check fields that are not None, and make seconds of a timedelta and a datetime.

    Raises:
        ValueError: a value that no platform could take.
    """
    for name in names:
        check = _CHECKS.get(name)  # a subclass may have fields of its own
        if check is not None:
            check(name, given[name])
    if "ttl" in given or "expiration" in given:
        _check_times(given)


_LONGEST: Final = 1_000_000_000
"""The longest lifetime in seconds. A larger number is in milliseconds, or another shorter unit."""


def _check_times(given: dict[str, Any]) -> None:
    _convert_times(given)
    for name in _TIMES:
        if name in given:
            _check_number(name, given[name])
    if given.get("ttl", 0) > _LONGEST:
        raise ValueError("ttl is more than 30 years: it takes seconds")
    expires = given.get("expiration")
    if expires and "ttl" not in given and (problem := expiration_problem(expires)):
        raise ValueError(f"expiration {problem}")


def _convert_times(given: dict[str, Any]) -> None:
    if isinstance(given.get("ttl"), timedelta):
        given["ttl"] = lifetime_seconds(given["ttl"])
    expiration = given.get("expiration")
    if isinstance(expiration, timedelta):
        _check_number("expiration", lifetime_seconds(expiration))
        if lifetime_seconds(expiration) > _LONGEST:
            raise ValueError("expiration is a timedelta of more than 30 years")
        del given["expiration"]
        given.setdefault("ttl", lifetime_seconds(expiration))
    elif isinstance(expiration, datetime):
        try:
            given["expiration"] = unix_seconds(expiration)
        except ValueError as error:
            raise ValueError(f"expiration {error}") from None


def _check_type(name: str, value: Any, kind: type | tuple[type, ...], expected: str) -> None:
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {expected}, not {json_shown(value)}")


def _check_text(name: str, value: Any) -> None:
    _check_type(name, value, str, "a string")


def _check_flag(name: str, value: Any) -> None:
    _check_type(name, value, bool, "true or false")


def _check_data(name: str, value: Any) -> None:
    if type(value) is not dict:  # asking for a Mapping takes longer than all the rest
        _check_type(name, value, Mapping, "an object")
    try:
        if b"null" not in orjson.dumps(value):  # which a NaN would become
            return
    except TypeError:
        pass
    if problem := json_problem(dict(value), name):
        raise ValueError(problem)


def _check_rich_content(name: str, value: Any) -> None:
    _check_type(name, value, Mapping, "an object")
    if not isinstance(value.get("image"), str | None):
        raise ValueError(f"richContent.image must be a URL, not {json_shown(value['image'])}")


def _check_sound(name: str, value: Any) -> None:
    if type(value) is str:
        return
    _check_type(name, value, (str, Mapping), "a string or an object")
    if isinstance(value, Mapping):
        file, volume = value.get("name"), value.get("volume")
        if file is not None and not isinstance(file, str):
            raise ValueError(f"sound.name must be a string, not {json_shown(file)}")
        if volume is not None and (type(volume) not in (int, float) or not 0 <= volume <= 1):
            raise ValueError(f"sound.volume must be from 0 to 1, not {json_shown(volume)}")


def _check_recipients(name: str, value: Any) -> None:
    if isinstance(value, list | tuple) and all(isinstance(token, str) for token in value):
        return
    _check_type(name, value, str, "a token or a list of tokens")


def _check_number(name: str, value: Any) -> None:
    number = (type(value) is int or (type(value) is float and math.isfinite(value))) and value >= 0
    if not number or (name == "badge" and type(value) is not int):
        raise ValueError(f"{name} must be a number from 0 on, not {json_shown(value)}")


def _check_choice(name: str, value: Any) -> None:
    choices = _CHOICES[name]
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {json_shown(value)}")


def _check_score(name: str, value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, not {json_shown(value)}")


def _check_vibrate(name: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        wrong = [each for each in value if type(each) is not int or each < 0]
        if wrong:
            raise ValueError(f"{name} must be a list of whole milliseconds, it has {json_shown(wrong[0])}")
        return
    _check_type(name, value, bool, "true, false or a list of milliseconds")


_CHOICES: Final = {"priority": PRIORITIES, "interruptionLevel": INTERRUPTION_LEVELS}
_CHECKS: Final[dict[str, Callable[[str, Any], None]]] = {
    **dict.fromkeys(TEXTS, _check_text),
    **dict.fromkeys(_FLAGS, _check_flag),
    "badge": _check_number,
    **dict.fromkeys(_CHOICES, _check_choice),
    "data": _check_data,
    "richContent": _check_rich_content,
    "sound": _check_sound,
    "to": _check_recipients,
    "relevanceScore": _check_score,
    "vibrate": _check_vibrate,
}

Source = ExpoMessage | Mapping[str, Any]


def message_of(source: Source) -> ExpoMessage:
    """The message, made of a mapping if it is one. Raises ValueError for a wrong one."""
    return source if isinstance(source, ExpoMessage) else ExpoMessage.from_dict(source)


def only_recipient(message: ExpoMessage) -> str:
    """The only token in `to`. Raises ValueError for none or several."""
    recipients = message.recipients
    if len(recipients) != 1:
        raise ValueError(
            f"to must hold one token here, it holds {len(recipients)}: pass the token separately"
        )
    return recipients[0]


def own_data(message: ExpoMessage) -> dict[str, Any] | None:
    """The app's own data, with the rich content where Expo's service puts it and a service extension looks for it."""
    if message.richContent is None:
        return None if message.data is None else dict(message.data)
    return {**(message.data or {}), "_richContent": dict(message.richContent)}


def given_now(now: float | None, name: str) -> float:
    """`now`, which a message with the field `name` needs. Raises ValueError without it, or for another unit."""
    if now is None:
        raise ValueError(f"a message with {name} needs now, the time in UNIX seconds")
    check_number("now", now, error=ValueError)
    if problem := unit_problem(now):
        raise ValueError(f"now {problem}")
    return now


def add_present(target: dict[str, Any], **fields: Any) -> None:
    """Add the fields that are not None."""
    for name, value in fields.items():
        if value is not None:
            target[name] = value
