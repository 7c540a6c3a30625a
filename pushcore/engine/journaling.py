"""The interface of a journal for the engine: `pushcore.Journal` implements it, and the engine imports none."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Protocol

from ..results import Result


class CampaignJournal(Protocol):
    """The pushes that are still to be sent, and the outcomes. Each push has a `row`, counted from 1."""

    def steps(self, pushes: Iterable[Any], /) -> Iterator[Any]:
        """The pushes that are to be sent. While pushes that have an outcome are skipped, None is yielded now and then."""

    def pending_async(self, pushes: AsyncIterable[Any], /) -> AsyncIterator[Any]:
        """The pushes of an asynchronous source that are to be sent."""

    async def room(self, rows: int, /) -> None:
        """Wait until `rows` more rows may be sent."""

    def record_all(self, results: Iterable[Result], /) -> None:
        """Record outcomes. Raises `JournalError`."""

    def put_back(self, push: Any, attempts: int, /) -> None:
        """The push was certainly not delivered, after this number of attempts."""

    def take_back(self, push: Any, attempts: int, /) -> None:
        """The push may be delivered again from now on: it is about to be retried."""

    async def committed(self) -> None:
        """Wait until what was recorded is on the disk. Raises `JournalError`."""
