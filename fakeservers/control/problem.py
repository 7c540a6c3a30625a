"""Errors of the control port, each in one sentence."""

from __future__ import annotations

from typing import Any

_SHOWN = 60
"""Characters of a caller's value that an error repeats."""


class Problem(Exception):
    """An error: an HTTP status and one sentence, sent as RFC 9457 has it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def shown(value: Any) -> str:
    """A caller's value for an error message: short, ASCII, on one line."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
