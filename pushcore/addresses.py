"""URLs as users give them: read without an exception that quotes them, for a password may stand anywhere in them."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

_PLAIN: Final = re.compile(
    r"([a-z][a-z0-9+.-]{0,19}://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)(/?)(.*)", re.DOTALL
)
"""Scheme, host and port, a slash, and what is not shown."""
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,19}:)//")
_LONGEST: Final = 60


def split_address(url: object) -> SplitResult | None:
    """The parts of a URL; None where it is no string, or where its host or its port cannot be read.

    No exception is left behind: those of `urlsplit` quote what stands where a port should, which may be a password.
    """
    if not isinstance(url, str):
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port, parts.hostname
    except ValueError:
        return None
    return parts


def shown_address(value: object) -> str:
    """A wrong address for a message: scheme, host and port where they are plain, and nothing else that was given."""
    if not isinstance(value, str):
        return "None" if value is None else type(value).__name__
    plain = _PLAIN.fullmatch(value)
    if plain is not None and split_address(value) is not None and "@" not in value:
        text = plain[1] + (f"{plain[2]}…" if plain[3] else plain[2])
        return repr(text) if len(text) <= _LONGEST else repr(text[:_LONGEST] + "…")
    scheme = _SCHEME.match(value)
    if scheme is not None:
        return f"'{scheme[1]}//…'"
    return "a text without a known scheme" if value else "an empty text"
