"""Replies and errors of Redis in all forms: RESP2 or RESP3, with or without the texts of redis-py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ..errors import QueueError, QueueFull, QueueReadOnly, QueueRefused, QueueUnavailable
from ..protocol import NOTHING, StoredValue

REVISION: Final = 8
"""Bytes before a value of the store."""

_CODE: Final = re.compile(r"[A-Z]+\b")
_UNAVAILABLE: Final = frozenset({"CLUSTERDOWN", "LOADING", "MASTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS"})
_REFUSED: Final = frozenset({"NOAUTH", "NOPERM", "WRONGPASS"})


def named(error: Exception, name: str) -> QueueError:
    """An exception of redis-py as a `QueueError`. Its text may quote a whole command, so only the code is used."""
    word = code(error)
    if word == "OOM":
        return QueueFull(f"{name} is at its maxmemory")
    if word == "MISCONF":
        return QueueFull(f"{name} cannot write to its disk (MISCONF)")
    if word == "READONLY":
        return QueueReadOnly(f"{name} is a replica that takes no writes")
    if word in _REFUSED:
        return QueueRefused(f"{name} does not permit this ({word})")
    if word in _UNAVAILABLE:
        return QueueUnavailable(f"{name} is not ready ({word})")
    if "unknown command" in str(error)[:200].lower():
        return QueueRefused(f"{name} is too old; expected Redis 6.2 or later, or Valkey")
    return QueueError(f"{name} answered {word or type(error).__name__}")


def code(error: Exception) -> str:
    """The first word of the server's error; after a pipeline, redis-py puts its own text before it."""
    words = str(error).rsplit("caused error: ", 1)[-1].lstrip("(\"'")
    match = _CODE.match(words)
    if match is not None and match[0] != "ERR":
        return match[0]
    # redis-py removes the code if it has a class for it
    return {"ReadOnlyError": "READONLY", "OutOfMemoryError": "OOM", "NoPermissionError": "NOPERM"}.get(
        type(error).__name__, "OOM" if words.startswith("command not allowed when used memory") else ""
    )


def text(value: Any) -> str:
    """An id as text; clients return bytes or text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def entries(reply: Any) -> Iterator[tuple[Any, dict[Any, Any]]]:
    """The entries of one stream: RESP2 has [[key, entries]], RESP3 {key: [entries]}."""
    if not reply:
        return
    streams = list(reply.values()) if isinstance(reply, dict) else [entries for _, entries in reply]
    for entries in streams:
        for entry in entries:
            if entry and isinstance(entry[0], list | tuple):
                yield from ((entry_id, fields or {}) for entry_id, fields in entry)
            elif entry:
                yield entry[0], entry[1] or {}


def note(value: bytes | None) -> StoredValue:
    """A value of the store from the content of its key."""
    if value is None:
        return NOTHING
    return StoredValue(value[REVISION:], int.from_bytes(value[:REVISION], "big"))
