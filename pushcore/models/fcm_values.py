"""The values of FCM's JSON: each check raises `FieldError` with a sentence that names the field, or says nothing.

A check is called with a value of JSON and with where it stands. What proto3 JSON lets pass, passes: an enum's number,
a whole number in a string, null for an absent field, both spellings of a key (protobuf.dev, "ProtoJSON Format").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from ..arguments import json_shown
from .fcm import camel

MAX_TTL: Final = 2_419_200  # seconds: four weeks

Kind = Literal["argument", "missing", "token", "data key", "ttl", "size"]
Check = Callable[[Any, str], None]

_DURATION: Final = re.compile(r"([0-9]{1,12})(\.[0-9]{1,9})?s", re.ASCII)
_RESERVED: Final = frozenset({"from", "message_type", "gcm"})
# Google's pages differ: "google." and "gcm.notification." in the reference of Message, "any value prefixed by google"
# and "gcm" in ErrorCode. What either forbids is refused.
_RESERVED_STARTS: Final = ("google", "gcm.notification.")


class FieldError(Exception):
    """The error of a push that cannot be sent, in one sentence. `kind`: what is wrong, for those that have a word for it."""

    def __init__(self, detail: str, kind: Kind = "argument") -> None:
        super().__init__(detail)
        self.detail, self.kind = detail, kind


def string(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise FieldError(f"{where} must be a string, not {json_shown(value)}")


def boolean(value: Any, where: str) -> None:
    if not isinstance(value, bool):
        raise FieldError(f"{where} must be true or false, not {json_shown(value)}")


def integer(value: Any, where: str) -> None:
    # proto3 JSON also takes a number in a string.
    text = str(value) if isinstance(value, str) or type(value) is int else ""
    if not re.fullmatch(r"-?[0-9]{1,10}", text, re.ASCII) or not -(1 << 31) <= int(text) < 1 << 31:
        raise FieldError(f"{where} must be a whole number of 32 bits, not {json_shown(value)}")


def natural(value: Any, where: str) -> None:
    integer(value, where)
    if int(value) < 0:
        raise FieldError(f"{where} must be a number from 0 on, not {json_shown(value)}")


def fraction(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise FieldError(f"{where} must be a number from 0 to 1, not {json_shown(value)}")


def duration(value: Any, where: str) -> None:
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise FieldError(f'{where} must be a duration such as "3.5s", not {json_shown(value)}', "ttl")


def ttl(value: Any, where: str) -> None:
    duration(value, where)
    if float(value[:-1]) > MAX_TTL:
        raise FieldError(
            f"{where} must be at most {MAX_TTL} seconds (four weeks), not {json_shown(value)}", "ttl"
        )


def struct(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise FieldError(f"{where} must be an object, not {json_shown(value)}")


def strings(value: Any, where: str) -> None:
    struct(value, where)
    for key, item in value.items():
        string(key, f"a key of {where}")
        string(item, f"{where}[{json_shown(key)}]")


def check_data(value: Any, where: str = "data") -> None:
    """`data` of a v1 message: strings only, under keys that are not Google's own."""
    strings(value, where)
    data_keys(value, where)


def data_keys(value: dict[str, Any], where: str) -> None:
    for key in value:
        if key in _RESERVED or key.startswith(_RESERVED_STARTS):
            raise FieldError(
                f"{where} must not have the key {json_shown(key)}, which FCM reserves", "data key"
            )


def legacy_data(value: Any, where: str) -> None:
    struct(value, where)
    data_keys(value, where)


def matching(pattern: re.Pattern[str], expected: str) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise FieldError(f"{where} must be {expected}, not {json_shown(value)}")

    return check


def one_of(*names: str, any_case: bool = False) -> Check:
    def check(value: Any, where: str) -> None:
        # proto3 JSON also takes an enum's number.
        known = 0 <= value < len(names) if type(value) is int else isinstance(value, str) and value in names
        if not known and not (any_case and isinstance(value, str) and value.upper() in names):
            raise FieldError(f"{where} must be one of {', '.join(names)}, not {json_shown(value)}")

    return check


def list_of(inner: Check) -> Check:
    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise FieldError(f"{where} must be a list, not {json_shown(value)}")
        for index, item in enumerate(value):
            inner(item, f"{where}[{index}]")

    return check


def object_of(fields: Mapping[str, Check], *, camel_too: bool = True) -> Check:
    """An object of known keys, in both of Google's spellings; null is the same as absent (proto3 JSON)."""
    names = {name: name for name in fields}
    if camel_too:
        names.update({camel(name): name for name in fields})

    def check(value: Any, where: str) -> None:
        struct(value, where)
        seen = set()
        for key, inner in value.items():
            name = names.get(key)
            if name is None:
                raise FieldError(f"unknown key {json_shown(key)} in {where}")
            if name in seen:
                raise FieldError(f"{where}.{name} occurs twice, as {name} and as {camel(name)}")
            seen.add(name)
            if inner is not None:
                fields[name](inner, f"{where}.{name}")

    return check
