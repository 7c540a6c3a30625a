"""Warnings about a caller's arguments, each logged once: the same mistake is in every push of a campaign."""

from __future__ import annotations

import logging
from typing import Final

MAX_WARNINGS: Final = 100
"""Different ones of a process: what they name may come from the network."""

log = logging.getLogger("pushcore.models")
_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Log a warning that has not been logged before."""
    if text not in _warned and len(_warned) < MAX_WARNINGS:
        _warned.add(text)
        log.warning(text)


def forget() -> None:
    """Start again, for tests."""
    _warned.clear()
