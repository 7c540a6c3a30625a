"""Google's JSON parser for requests: proto3 JSON with a description of the fields, and Google's error messages.

A parser takes a value and its path, appends to a list of violations, and returns the value in snake_case.
The messages for an unknown name, a wrong scalar, a misplaced list or object and a second target were recorded from
Google's APIs; those for durations, times and maps are from memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson

from fakeservers.responses.fcm import Violation

Violations: TypeAlias = list[Violation]
Parser: TypeAlias = Callable[[Any, str, Violations], Any]
"""Takes a value that is not null, its path (`message.android.ttl`) and the list of violations; returns it parsed."""

MAX_VIOLATIONS = 20
"""Violations that a response lists at most; an assumed limit."""
MAX_SHOWN = 100
"""Characters of a wrong value that a message repeats; an assumed limit."""
MAX_DEPTH = 50
"""Levels of a Struct; deeper ones are refused."""

_PAYLOAD = "Invalid JSON payload received. "
_DURATION = re.compile(r"(-?[0-9]{1,12})(?:\.[0-9]{1,9})?s", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_INTEGER = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_INT32 = range(-(2**31), 2**31)


def parse_json(body: bytes, root: Parser) -> tuple[dict[str, Any], Violations]:
    """Parse a request's body. When there are violations, the first result is undefined."""
    if not body:
        return {}, []
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        rest = body[error.pos : error.pos + 40].decode("utf-8", "replace")
        problem = "Unexpected token." if rest else "Unexpected end of string. Expected a value."
        return {}, [("", f"{_PAYLOAD}{problem}\n{rest}\n^")]
    if not isinstance(message, dict):
        return {}, [("", f'{_PAYLOAD}Unknown name "": Root element must be a message.')]
    return parse_object(message, root)


def parse_object(message: dict[str, Any], root: Parser) -> tuple[dict[str, Any], Violations]:
    """The same for a body that is decoded already."""
    violations: Violations = []
    return root(message, "", violations), violations[:MAX_VIOLATIONS]


def camel(name: str) -> str:
    """`direct_boot_ok` as `directBootOk`."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _complain(violations: Violations, where: str, kind: str, problem: str) -> None:
    violations.append((where, f"Invalid value at '{where}' ({kind}), {problem}"))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()[:MAX_SHOWN]


def _is_scalar(value: Any, where: str, violations: Violations) -> bool:
    """Whether it is neither an object nor a list; violations of those have the path of their container."""
    parent, _, name = where.rpartition(".")
    if isinstance(value, dict):
        _complain(violations, parent, name, "Starting an object on a scalar field")
        return False
    return _is_single(value, where, violations)


def _is_single(value: Any, where: str, violations: Violations) -> bool:
    if not isinstance(value, list):
        return True
    parent, _, name = where.rpartition(".")
    at = f" at '{parent}'" if parent else ""
    why = "Proto field is not repeating, cannot start list."
    violations.append((parent, f'{_PAYLOAD}Unknown name "{name}"{at}: {why}'))
    return False


def string(value: Any, where: str, violations: Violations) -> Any:
    """TYPE_STRING."""
    if isinstance(value, str):
        return value
    if _is_scalar(value, where, violations):
        _complain(violations, where, "TYPE_STRING", _json(value))
    return ""


def boolean(value: Any, where: str, violations: Violations) -> Any:
    """TYPE_BOOL; "true" and "false" are accepted too."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    if _is_scalar(value, where, violations):
        _complain(violations, where, "TYPE_BOOL", _json(value))
    return False


def int32(value: Any, where: str, violations: Violations) -> Any:
    """TYPE_INT32; whole fractions and digits in a string are accepted too."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in _INT32:
        return value
    if _is_scalar(value, where, violations):
        _complain(violations, where, "TYPE_INT32", _json(value))
    return 0


def number(value: Any, where: str, violations: Violations) -> Any:
    """TYPE_FLOAT; digits in a string are accepted too."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if _is_scalar(value, where, violations):
        _complain(violations, where, "TYPE_FLOAT", _json(value))
    return 0.0


def duration(value: Any, where: str, violations: Violations) -> Any:
    """`google.protobuf.Duration`, as seconds rounded down."""
    if not _is_scalar(value, where, violations):
        return 0
    name = where.rpartition(".")[2]
    kind = "type.googleapis.com/google.protobuf.Duration"
    if not isinstance(value, str):
        problem = f"Invalid data type for duration, value is {_json(value)}"
    elif not value.endswith("s"):
        problem = "Illegal duration format; duration must end with 's'"
    else:
        match = _DURATION.fullmatch(value)
        if match is not None:
            return int(match[1])
        problem = "Invalid duration format, failed to parse seconds"
    _complain(violations, where, kind, f"Field '{name}', {problem}")
    return 0


def timestamp(value: Any, where: str, violations: Violations) -> Any:
    """`google.protobuf.Timestamp`, RFC 3339."""
    if not _is_scalar(value, where, violations):
        return ""
    if isinstance(value, str) and _TIMESTAMP.fullmatch(value):
        return value
    name = where.rpartition(".")[2]
    if isinstance(value, str):
        problem = f"Invalid time format: {value:.{MAX_SHOWN}}"
    else:
        problem = f"Invalid data type for timestamp, value is {_json(value)}"
    kind = "type.googleapis.com/google.protobuf.Timestamp"
    _complain(violations, where, kind, f"Field '{name}', {problem}")
    return ""


def struct(value: Any, where: str, violations: Violations) -> Any:
    """`google.protobuf.Struct`: any object."""
    if isinstance(value, dict) and _depth(value) <= MAX_DEPTH:
        return value
    if isinstance(value, dict):
        violations.append(
            (where, f"{_PAYLOAD}Message too deep. Max recursion depth reached for key '{where}'")
        )
    elif _is_single(value, where, violations):
        _complain(violations, where, "type.googleapis.com/google.protobuf.Struct", _json(value))
    return {}


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            break
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    return depth


def strings(value: Any, where: str, violations: Violations) -> Any:
    """`map<string, string>`."""
    if not isinstance(value, dict):
        problem = f"Cannot bind a list to map for field '{where.rpartition('.')[2]}'."
        _complain(violations, where, "Map", problem if isinstance(value, list) else _json(value))
        return {}
    for index, (key, content) in enumerate(value.items()):
        if not isinstance(content, str):
            string(content, f"{where}[{index}].value", violations)
        elif not key:
            _complain(violations, where, "Map", "Map keys cannot be empty")
    return value


def list_of(inner: Parser) -> Parser:
    """A repeated field."""

    def parse(value: Any, where: str, violations: Violations) -> Any:
        if not isinstance(value, list):
            if not isinstance(value, dict):
                inner(value, f"{where}[0]", violations)
            # [M]: the kind of violation is assumed.
            _complain(violations, where, "repeated field", "Expected a list")
            return []
        return [inner(item, f"{where}[{index}]", violations) for index, item in enumerate(value)]

    return parse


def enum(type_name: str, *names: str) -> Parser:
    """An enumeration: a name in either case, or its number."""
    numbers = {str(number): name for number, name in enumerate(names)}

    def parse(value: Any, where: str, violations: Violations) -> Any:
        if isinstance(value, str) and value.upper() in names:
            return value.upper()
        if not isinstance(value, bool) and str(value) in numbers:
            return numbers[str(value)]
        if _is_scalar(value, where, violations):
            _complain(violations, where, f"type.googleapis.com/{type_name}", _json(value))
        return names[0]

    return parse


@dataclass(frozen=True, slots=True)
class MessageType:
    """A message: its fields in both spellings; null counts as absent.

    Args:
        name: name of the type in messages.
        fields: parsers by name in snake_case.
        oneofs: by field, the name of its group, of which one field may be present.
    """

    name: str
    fields: Mapping[str, Parser]
    oneofs: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, tuple[str, Parser, str]] = field(init=False)
    """Name, parser and group (may be empty) by either spelling."""

    def __post_init__(self) -> None:
        known = {name: (name, parser, self.oneofs.get(name, "")) for name, parser in self.fields.items()}
        object.__setattr__(self, "_known", {camel(name): entry for name, entry in known.items()} | known)

    def __call__(self, value: Any, where: str, violations: Violations) -> dict[str, Any]:
        """Parse an object."""
        if not isinstance(value, dict):
            if _is_single(value, where, violations):
                _complain(violations, where, f"type.googleapis.com/{self.name}", _json(value))
            return {}
        parsed: dict[str, Any] = {}
        taken: dict[str, str] = {}
        known = self._known
        for key, content in value.items():
            entry = known.get(key)
            if entry is None:
                at = f" at '{where}'" if where else ""
                why = f'{_PAYLOAD}Unknown name "{key:.{MAX_SHOWN}}"{at}: Cannot find field.'
                violations.append((where, why))
                continue
            if content is None:
                continue
            name, parser, group = entry
            if group and taken.setdefault(group, name) != name:
                problem = f"oneof field '{group}' is already set. Cannot set '{key}'"
                _complain(violations, where, "oneof", problem)
            elif parser is string and isinstance(content, str):  # most fields: no path is needed
                parsed[name] = content
            else:
                parsed[name] = parser(content, f"{where}.{name}" if where else name, violations)
        return parsed


FCM: Final = "google.firebase.fcm.v1."


def message_type(name: str, fields: Mapping[str, Parser], *oneofs: tuple[str, Sequence[str]]) -> MessageType:
    """A message type of FCM."""
    return MessageType(FCM + name, fields, {member: group for group, names in oneofs for member in names})
