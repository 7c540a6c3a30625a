"""Pushes with the number of their row, made from the columns of inline chunks: the simplest way from a chunk to pushes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from ..arguments import check, check_type
from ..journal.journal import id_prefix
from ..models.apns import Notification
from ..models.aps import Aps
from .campaign import CampaignInfo
from .chunk import Chunk
from .errors import ChunkError

_OPTIONS: Final = ("topic", "push_type", "priority", "expiration", "collapse_id")
"""The options that all pushes of a campaign can share."""

Pushes = Callable[[Chunk, CampaignInfo], Iterable[Any] | Awaitable[Iterable[Any]]]
"""Makes the pushes of a chunk for a worker: one for each row of `chunk.missing()`, with the row's number in its attribute
`row`. If a row cannot be a push, it returns a `Result` instead; the push of that result has the row. An exception sets the
chunk aside, with two exceptions: after `SourceUnavailable` the chunk is released, `CampaignConflict` ends the worker."""


class NumberedNotification(Notification):
    """A push to APNs with the number of its row."""

    __slots__ = ("row",)

    def __init__(self, row: int, token: str, payload: dict[str, Any] | bytes | Aps, **options: Any) -> None:
        super().__init__(token, payload, **options)
        self.row = row


Payload = dict[str, Any] | bytes | Aps | Callable[[dict[str, Any]], dict[str, Any] | bytes | Aps]


def notifications(payload: Payload, *, column: str = "token", **options: Any) -> Pushes:
    """The `pushes` argument of a `Worker` for inline chunks with a column of APNs tokens.

    Args:
        payload: one payload for all rows, or a function that gets the columns of a row and returns its payload.
        column: the name of the column with the tokens.
        options: further arguments of `Notification`, the same for all rows. The apns-id is derived from campaign and row, so
            that logs show whether a push was sent twice.

    Returns:
        A function for `Worker(pushes=...)`.

    Raises:
        ConfigurationError: an argument has a wrong type.
    """
    valid = isinstance(payload, dict | bytes | Aps) or callable(payload)
    check(valid, "payload", "a dict, JSON in bytes, an Aps, or a function of a row's columns", payload)
    check_type("column", column, str, "the name of a column")
    for name in options:
        check(name in _OPTIONS, name, f"one of {', '.join(_OPTIONS)}", options[name])

    def make(chunk: Chunk, info: CampaignInfo) -> list[NumberedNotification]:
        columns = chunk.columns()
        tokens = columns.get(column)
        if tokens is None:
            raise ChunkError(f"chunk {chunk.number} has no column {column!r}")
        prefix, first = id_prefix(info.name), chunk.first
        pushes = []
        for row in chunk.missing():
            at = row - first
            body = (
                payload({name: values[at] for name, values in columns.items()})
                if callable(payload)
                else payload
            )
            pushes.append(
                NumberedNotification(row, tokens[at], body, apns_id=f"{prefix}{row:012x}", **options)
            )
        return pushes

    return make
