"""Pushes that know their row, out of the columns of inline chunks: the plainest way from a chunk to what is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from ..arguments import check, check_type
from ..journal.journal import id_prefix
from ..models.apns import Aps, Notification
from .campaign import CampaignInfo
from .chunk import Chunk
from .errors import ChunkError

_OPTIONS: Final = ("topic", "push_type", "priority", "expiration", "collapse_id")
"""What every push of a campaign may have in common."""

Pushes = Callable[[Chunk, CampaignInfo], Iterable[Any] | Awaitable[Iterable[Any]]]
"""What a worker asks for the pushes of a chunk: one for each of `chunk.missing()`, with its number in `row`. A row that
can be no push is a `Result` instead, whose push has the row. What it raises sets the chunk aside, but for
`SourceUnavailable`, for which it is given back, and `CampaignConflict`, which ends the worker."""


class NumberedNotification(Notification):
    """A push to APNs that knows its row."""

    __slots__ = ("row",)

    def __init__(self, row: int, token: str, payload: dict[str, Any] | bytes | Aps, **options: Any) -> None:
        super().__init__(token, payload, **options)
        self.row = row


Payload = dict[str, Any] | bytes | Aps | Callable[[dict[str, Any]], dict[str, Any] | bytes | Aps]


def notifications(payload: Payload, *, column: str = "token", **options: Any) -> Pushes:
    """For inline chunks with a `column` of APNs tokens.

    Args:
        payload: one for all, or a function of a row's columns.
        column: the one with the token.
        options: what else `Notification` takes, the same for all. The apns-id follows from campaign and row, so
            that a repeat can be told in any log.

    Returns:
        What a `Worker` takes as `pushes`.

    Raises:
        ConfigurationError: an argument is of a wrong type.
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
