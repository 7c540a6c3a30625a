"""The record of a lane's results: to the journal, then to the listeners, then to the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ClosedError, JournalError
from ..results import Result
from .journaling import CampaignJournal
from .rules import Rules


class Record:
    """Takes the results of one lane, and passes them on by the batch.

    Args:
        provider: its name in events.
        ready: the results that the caller takes.
        rules: the listener, and whether there is one.
        journal: what keeps the outcomes; None for none.
        stop: called with the error of a journal that cannot be written.
    """

    __slots__ = ("_events", "_journal", "_listening", "_provider", "_ready", "_stop", "emit", "results")

    def __init__(
        self,
        provider: str,
        ready: list[Result],
        rules: Rules,
        journal: CampaignJournal | None,
        stop: Callable[[BaseException], None],
    ) -> None:
        self.results: list[Result] = ready if journal is None and not rules.listening else []
        """Results are appended here: it is the caller's list where neither journal nor listener has them first."""
        self.emit = self.results.append
        """Takes one result that is the outcome of its push."""
        self._provider = provider
        self._ready = ready
        self._events = rules.events
        self._listening = rules.listening
        self._journal = journal
        self._stop = stop

    @property
    def journaled(self) -> bool:
        """Whether a retry must be committed to a journal before it is sent."""
        return self._journal is not None

    def flush(self) -> None:
        """Record the outcomes so far, and pass them to the listeners and the caller."""
        if self.results and self.results is not self._ready:
            batch = self.results.copy()
            self.results.clear()
            if self._journal is not None:
                try:
                    self._journal.record_all(batch)
                except (JournalError, ClosedError) as error:  # or the caller closed the journal
                    self._stop(error)
            self.deliver(batch)

    def deliver(self, batch: list[Result]) -> None:
        """Pass results to the listeners and the caller, and not to the journal."""
        if self._listening:
            self._events.results(self._provider, batch)
        self._ready.extend(batch)

    def put_back(self, push: Any, attempts: int) -> None:
        """Record that the push was certainly not delivered, after this number of attempts."""
        if self._journal is not None:
            self._journal.put_back(push, attempts)

    def take_back(self, push: Any, attempts: int) -> None:
        """Record that the push may be delivered from now on."""
        if self._journal is not None:
            self._journal.take_back(push, attempts)

    async def committed(self) -> None:
        """Wait until the journal's file has everything that was recorded. Raises `JournalError`."""
        if self._journal is not None:
            await self._journal.committed()
