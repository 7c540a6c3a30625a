"""Finds keys of an APNs payload that have no effect, or another effect, with its push type. Apple rejects none of them.

Facts: "Sending notification requests to APNs", "Generating a remote notification", "Starting and updating Live Activities with
ActivityKit push notifications" and "Updating widgets with WidgetKit push notifications" at developer.apple.com/documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..arguments import json_kind, json_shown, shown
from .apns import PUSH_TYPES
from .aps import EVENTS, INTERRUPTION_LEVELS, NEEDED
from .times import moment_problem

SHOWN: Final = ("alert", "badge", "sound")
"""The keys of `aps` that the user notices."""
MOMENTS: Final = ("timestamp", "stale-date", "dismissal-date")
"""The keys of `aps` that are moments, of Live Activities."""

_TEXTS: Final = ("title", "subtitle", "body", "title-loc-key", "subtitle-loc-key", "loc-key")
"""The keys of an alert that the user reads."""

_STRING: Final = ((str,), "a string")
_NUMBER: Final = ((int, float), "a number")
_OBJECT: Final = ((Mapping,), "an object")
_STRINGS: Final = ((list, tuple), "a list of strings")
_OF_APS: Final = {
    "alert": ((str, Mapping), "a string or an object"),
    "badge": _NUMBER,
    "sound": ((str, Mapping), "a string or an object"),
    "relevance-score": _NUMBER,
    **dict.fromkeys(
        ("thread-id", "category", "target-content-id", "filter-criteria", "attributes-type"), _STRING
    ),
    "input-push-channel": _STRING,
    **dict.fromkeys(("content-state", "attributes"), _OBJECT),
    "url-args": _STRINGS,
}
_OF_ALERT: Final = {
    **dict.fromkeys(("title", "body"), ((str, Mapping), "a string")),
    **dict.fromkeys(("subtitle", "launch-image", "title-loc-key", "subtitle-loc-key", "loc-key"), _STRING),
    **dict.fromkeys(("title-loc-args", "subtitle-loc-args", "loc-args"), _STRINGS),
}
_OF_SOUND: Final = {"name": _STRING, "volume": _NUMBER}
_ONES: Final = ("content-available", "mutable-content", "input-push-token")
"""The flags that are the number 1."""

NUMBERS: Final = frozenset((*(key for key, types in _OF_APS.items() if types is _NUMBER), *_ONES))
"""The keys of `aps` that are numbers; devices ignore the digits of a text."""

_PUNCTUATION: Final = {ord(character): None for character in "-_"}
_SPELT: Final = {
    key.replace("-", ""): key
    for key in (*_OF_APS, *_ONES, *MOMENTS, "interruption-level", "content-changed", "event")
}
"""The keys of `aps` by their spelling without dashes: others are written in snake_case or camelCase by mistake."""

INVISIBLE: Final = "no part of it is visible"
_RELOADING: Final = ("widgets", "controls")


def moments_problem(payload: Mapping[str, Any]) -> str:
    """What is wrong with the times of a Live Activity, in one sentence; empty when nothing is."""
    aps = payload.get("aps")
    if isinstance(aps, Mapping):
        for name in MOMENTS:
            if name in aps and (problem := moment_problem(aps[name])):
                return f"{name} {problem}"
    return ""


def mistyped_parts(payload: Mapping[str, Any]) -> list[str]:
    """The values in a payload that are of another type than Apple's: devices ignore them. A sentence for each."""
    aps = payload.get("aps")
    if isinstance(aps, Mapping):
        return list(_mistyped_parts(aps))
    return [f"aps must be an object, not {json_kind(aps)}"] if "aps" in payload else []


def _mistyped_parts(aps: Mapping[str, Any]) -> Iterator[str]:
    for key in aps:
        name = _SPELT.get(key.translate(_PUNCTUATION).lower(), key) if isinstance(key, str) else key
        if name != key:
            yield f"{shown(key)} is no key of aps and has no effect; expected {name}"
    yield from _of_wrong_types(aps, _OF_APS, "")
    for name, types in (("alert", _OF_ALERT), ("sound", _OF_SOUND)):
        if isinstance(aps.get(name), Mapping):
            yield from _of_wrong_types(aps[name], types, f"{name}.")
    for name in _ONES:
        value = aps.get(name)
        if value is not None and (isinstance(value, bool) or value not in (0, 1)):
            yield f"{name} must be the number 1, not {json_shown(value)}"
    level = aps.get("interruption-level")
    if level is not None and level not in INTERRUPTION_LEVELS:
        yield f"interruption-level must be one of {', '.join(INTERRUPTION_LEVELS)}, not {json_shown(level)}"
    score: Any = aps.get("relevance-score")
    if type(score) in (int, float) and not 0 <= score <= 1 and aps.get("event") is None:
        yield "relevance-score must be from 0 to 1"


def _of_wrong_types(
    part: Mapping[str, Any], types: Mapping[str, tuple[tuple[type, ...], str]], place: str
) -> Iterator[str]:
    for name, (classes, expected) in types.items():
        value = part.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, classes)):
            yield f"{place}{name} must be {expected}, not {json_kind(value)}"


def idle_parts(payload: Mapping[str, Any], push_type: object) -> list[str]:
    """What in a payload does nothing under this push type: a sentence for each. Of push types that we do not know, nothing."""
    aps = payload.get("aps")
    if not isinstance(push_type, str) or push_type not in PUSH_TYPES:
        return []
    return list(_idle_parts(aps if isinstance(aps, Mapping) else {}, push_type))


def _idle_parts(aps: Mapping[str, Any], push_type: str) -> Iterator[str]:
    shown = shown_parts(aps)
    silent = is_set(aps.get("content-available")) and aps["content-available"] != 0
    event = aps.get("event")
    if push_type == "liveactivity":
        yield from _of_live_activity(aps)
    elif event is not None:
        yield f"its event belongs to a Live Activity and has no effect with push type {push_type}; expected liveactivity"
    if push_type == "background":
        if shown:
            yield f"a background push shows nothing, but it has {' and '.join(shown)}; expected push type alert"
        if not silent:
            yield "a background push has no effect without content-available"
    if push_type in _RELOADING:
        if aps.get("content-changed") is not True:
            yield f'{push_type} have no effect without "content-changed": true'
    elif "content-changed" in aps:
        yield f"content-changed has no effect with push type {push_type}; expected widgets or controls"
    if push_type == "alert" and event is None and not shown:
        if silent:
            yield "content-available alone has no effect with push type alert; expected background"
        else:
            yield INVISIBLE
    if is_set(aps.get("mutable-content")) and "alert" not in shown:
        yield "mutable-content has no effect without an alert"


def shown_parts(aps: Mapping[str, Any]) -> list[str]:
    """The keys of `aps` that the user notices. An alert without a text is none."""
    return [key for key in SHOWN if is_set(aps.get(key)) and (key != "alert" or _has_text(aps[key]))]


def _has_text(alert: Any) -> bool:
    return not isinstance(alert, Mapping) or any(is_set(alert.get(key)) for key in _TEXTS)


def _of_live_activity(aps: Mapping[str, Any]) -> Iterator[str]:
    event = aps.get("event")
    if event is None:
        yield "a Live Activity has no effect without an event"
    elif event not in EVENTS:
        yield f"its event {json_shown(event)} is none of {', '.join(EVENTS)}"
    else:
        for name in NEEDED[event]:
            key = name.replace("_", "-")
            if not is_set(aps.get(key)):
                yield f"a Live Activity's {event} has no effect without {key}"


def is_set(value: Any) -> bool:
    """Whether there is something: 0, which clears a badge, is."""
    return value is not None and value is not False and value not in ("", {})
