"""From a chunk to its pushes, as `pushcore send` makes them from an audience: for inline chunks and chunks by reference."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Iterator
from typing import Any, Final, cast

from ..audience.audience import Audience
from ..audience.problems import BadInput
from ..audience.records import OnBad
from ..audience.shards import WHOLE, Shard
from ..journal.outcome import RowDevice
from ..payloads.rows import Rows
from ..payloads.template import Template
from ..results import Result, Verdict
from .campaign import CampaignInfo
from .chunk import Chunk
from .errors import CampaignConflict
from .references import ReferencedRows, ReferenceReader

BAD: Final = "_bad"
"""The column with the reason why a row could not be read."""
ABSENT: Final = "_absent"
"""The column with the names of the columns that a row does not have, while other rows do."""


class ChunkRows:
    """Makes the pushes of a campaign's chunks, see `queue.pushes.Pushes`. Close it after the worker.

    `template`: makes a push from a row.
    """

    def __init__(self, template: Template) -> None:
        self._template = template
        self._shelf = ReferenceReader()

    def __call__(self, chunk: Chunk, info: CampaignInfo) -> list[Any] | Awaitable[list[Any]]:
        """See `queue.pushes.Pushes`.

        Raises:
            ChunkError: the chunk is damaged.
            SourceUnavailable: the rows that it refers to cannot be read now.
            CampaignConflict: this worker cannot read them at all, or the payload needs a column that does not exist.
        """
        if chunk.reference is None:
            return self._made(_Inline(chunk), [])
        return self._of_reference(chunk, info)

    async def _of_reference(self, chunk: Chunk, info: CampaignInfo) -> list[Any]:
        source = self._shelf.source(chunk, info.options.get("audience"))
        pushes: list[Any] = []
        rows = self._rows(source, pushes)  # it selects the columns to read
        await self._shelf.load(source)
        pushes.extend(rows)
        return pushes

    def _made(self, source: _Inline, pushes: list[Any]) -> list[Any]:
        pushes.extend(self._rows(source, pushes))
        return pushes

    def _rows(self, source: _Inline | ReferencedRows, pushes: list[Any]) -> Rows:
        def on_bad(row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
            pushes.append(Result(RowDevice(row, token, platform), verdict, reason=reason))

        try:
            return self._template.rows(cast(Audience, source), on_bad)
        except BadInput as error:
            raise CampaignConflict(str(error)) from None

    def close(self) -> None:
        """Close the opened files."""
        self._shelf.close()


class _Inline:
    """The rows of an inline chunk, with the interface of an `Audience` of NDJSON."""

    columns = None
    name = "the campaign"

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def select(self, wanted: Collection[str]) -> None:
        """Does nothing: an inline chunk has all columns."""

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows to send, with their numbers."""
        columns = self._chunk.columns()
        first = self._chunk.first
        for row in self._chunk.missing():
            values = {name: column[row - first] for name, column in columns.items()}
            bad = values.pop(BAD, None)
            for name in values.pop(ABSENT, None) or ():
                values.pop(name, None)
            if bad is not None:
                on_bad(row, str(values.get("token") or ""), str(bad))
            else:
                yield row, values
