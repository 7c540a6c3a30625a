"""Names of HTTP/2: error codes, settings and frame types, as a plan writes them (RFC 9113)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakeservers.faults.reading import listed

ERROR_CODES = {
    name: code
    for code, name in enumerate(
        (
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        )
    )
}

SETTINGS = {
    "HEADER_TABLE_SIZE": 1,
    "ENABLE_PUSH": 2,
    "MAX_CONCURRENT_STREAMS": 3,
    "INITIAL_WINDOW_SIZE": 4,
    "MAX_FRAME_SIZE": 5,
    "MAX_HEADER_LIST_SIZE": 6,
}

MAX_32 = 0xFFFFFFFF
MAX_STREAM = 0x7FFFFFFF
_BOUNDS = {
    "ENABLE_PUSH": (0, 0),
    "INITIAL_WINDOW_SIZE": (0, MAX_STREAM),
    "MAX_FRAME_SIZE": (16_384, 16_777_215),
}


def error_code(value: Any) -> int | str:
    """A check for `given`: a name of the RFC, or any 32-bit number."""
    if isinstance(value, str) and value in ERROR_CODES:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_32:
        return value
    raise ValueError(f"{listed(ERROR_CODES)}, or a number of 32 bits")


def code_number(code: int | str) -> int:
    """The number of an error code."""
    return ERROR_CODES[code] if isinstance(code, str) else code


def setting_values(value: Any) -> tuple[tuple[str, int], ...]:
    """A check for `given`: a table of SETTINGS with legal values."""
    if not isinstance(value, Mapping):
        pairs = value if isinstance(value, list | tuple) else None
        if not pairs or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError("a table of " + listed(SETTINGS).removeprefix("one of "))
        value = dict(pairs)
    if not value:
        raise ValueError("a table of " + listed(SETTINGS).removeprefix("one of "))
    for name, number in value.items():
        if name not in SETTINGS:
            raise ValueError(f"keys of {listed(SETTINGS).removeprefix('one of ')}")
        low, high = _BOUNDS.get(name, (0, MAX_32))
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise ValueError(f"{name} from {low} to {high}")
    return tuple(value.items())


def setting_numbers(values: tuple[tuple[str, int], ...]) -> dict[int, int]:
    """The settings by their identifiers."""
    return {SETTINGS[name]: value for name, value in values}
