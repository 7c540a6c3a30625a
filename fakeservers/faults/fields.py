"""Checks of fields that only actions have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakeservers.faults.reading import MAX_SECONDS, duration, number, whole

LAST = ("all", "none", "before", "max")
MAX_STREAM = 0x7FFFFFFF
MAX_REPEAT = 10_000
MAX_FLOOD = 16_777_216
"""Bytes that a fault may send for one request."""


def header_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Header fields: a table of text, or pairs where a name comes twice."""
    pairs = list(value.items()) if isinstance(value, Mapping) else value
    expected = "a table of header names (lower case, no pseudo-headers) with text, 100 at most"
    if not isinstance(pairs, list | tuple) or len(pairs) > 100:
        raise ValueError(expected)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError(expected)
        name, content = pair
        if not isinstance(name, str) or not name or name != name.lower() or name.startswith(":"):
            raise ValueError(expected)
        if not isinstance(content, str) or len(name) + len(content) > 16_384:
            raise ValueError(expected)
        if not (name + content).isascii() or not (name + content).isprintable():
            raise ValueError(expected)
    return tuple((name, content) for name, content in pairs)


def points(low: float, high: float, unit: str) -> Any:
    """Pairs of a number (a share or a percentile) and seconds."""

    def check(value: Any) -> tuple[tuple[float, float], ...]:
        pairs = list(value.items()) if isinstance(value, Mapping) else value
        expected = f"pairs of {unit} from {low:g} to {high:g} and seconds"
        if not isinstance(pairs, list | tuple) or not 1 <= len(pairs) <= 1000:
            raise ValueError(expected)
        points = []
        for pair in pairs:
            try:
                point, delay = pair
                points.append((number(low, high)(float(point)), duration(delay)))
            except (TypeError, ValueError):
                raise ValueError(expected) from None
        return tuple(points)

    return check


def last_stream(value: Any) -> int | str:
    if value in LAST or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STREAM):
        assert isinstance(value, int | str)
        return value
    raise ValueError("all, none, before, max, or a stream id of 31 bits")


def after_header(value: Any) -> int | str:
    if isinstance(value, str) and 0 < len(value) <= 100 and value.isascii() and value.isprintable():
        return value
    return int(whole(0, int(MAX_SECONDS))(value))


def hexadecimal(value: Any) -> str:
    try:
        good = isinstance(value, str) and 0 < len(bytes.fromhex(value)) <= 1_048_576
    except ValueError:
        good = False
    if not good:
        raise ValueError("an even number of hexadecimal digits, of 1 MiB at most")
    return str(value)
