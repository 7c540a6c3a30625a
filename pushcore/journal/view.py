"""A journal that is only read: the progress of a campaign, and the outcomes of its rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

from ..key_material import checked_path
from ..results import Verdict
from .format import OutcomeTally, UniformOutcomes, singly, unpack
from .outcome import Outcome, id_prefix
from .store import JournalStore


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a campaign. Times are UNIX seconds.

    Attributes:
        campaign_id: the campaign's id.
        rows: the number of rows to send, None while it is not known.
        started: rows that may have been sent.
        done: rows with an outcome.
        tally: the number of these rows by platform, verdict and reason.
        repeats: how often a row was sent again after a kill.
        cut_short: how many runs before the last one ended without recording it.
        runs: the number of all runs.
        began: the start of the first run.
        updated: the last time that the journal was written.
        ended: the end of the last run. None while it runs, and if it could not record its end (a kill, a full disk).
        problem: why the last run ended early; None if it did not, or could not record it.
        run_began: the start of the last run.
        run_done: rows that had an outcome when the last run began.
    """

    campaign_id: str
    rows: int | None
    started: int
    done: int
    tally: OutcomeTally
    repeats: int
    cut_short: int
    runs: int
    began: float
    updated: float
    ended: float | None
    problem: str | None
    run_began: float
    run_done: int

    @property
    def verdicts(self) -> Counter[str]:
        """Rows by verdict."""
        verdicts: Counter[str] = Counter()
        for (_, verdict, _), count in self.tally.items():
            verdicts[verdict] += count
        return verdicts

    @property
    def complete(self) -> bool:
        """Whether every row has an outcome."""
        return self.rows is not None and self.done >= self.rows


class JournalView:
    """A journal that is only read, also while another process writes it.

    The file is closed by `close`, at the end of a `with` block, or when the view is no longer used. Properties also raise
    `JournalError` if the file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open it.

        Raises:
            JournalError: there is no such file, or it is damaged or of another version.
            ConfigurationError: `path` is not a path.
        """
        self._store = JournalStore.read(checked_path(path, "the path of the journal"))
        try:
            self.campaign = self._store.campaign()
        except BaseException:
            self._store.close()
            raise

    def __enter__(self) -> JournalView:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    @property
    def campaign_id(self) -> str:
        """The campaign's id."""
        return self.campaign.id

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the campaign, as passed to `Journal.create`."""
        return self.campaign.options

    def status(self) -> Status:
        """The status now.

        Raises:
            JournalError: the file is damaged.
        """
        campaign, runs = self._store.campaign(), self._store.runs()
        first, last = runs[0], runs[-1]
        started = max(run.upto for run in runs)
        return Status(
            campaign_id=campaign.id,
            rows=None if campaign.rows is None else campaign.owned_upto(campaign.rows),
            started=campaign.owned_upto(started if campaign.rows is None else min(started, campaign.rows)),
            done=last.tally.total(),
            tally=last.tally,
            repeats=last.repeats,
            cut_short=sum(run.ended is None for run in runs[:-1]),
            runs=len(runs),
            began=first.began,
            updated=last.updated,
            ended=last.ended,
            problem=last.problem,
            run_began=last.began,
            run_done=runs[-2].tally.total() if len(runs) > 1 else 0,
        )

    @property
    def running(self) -> bool:
        """Whether a process sends with it now. Between two commits this can be False for a moment."""
        return self._store.has_writer()

    def results(self, verdict: Verdict | None = None) -> Iterator[Outcome]:
        """The outcomes so far, or those with this verdict, in the order of their rows. It reads them piece by piece, so memory does
        not grow.

        Raises:
            JournalError: the file is damaged.
        """
        return chain.from_iterable(map(singly, self.batches(verdict)))

    def batches(self, verdict: Verdict | None = None) -> Iterator[UniformOutcomes | list[Outcome]]:
        """As `results`, many at a time: for callers with a faster path for equal outcomes.

        Raises:
            JournalError: the file is damaged.
        """
        prefix, block = id_prefix(self.campaign.id), 0
        while (stored := self._store.parts_from(block)) is not None:
            block, parts = stored
            yield _together([unpack(block, *part, prefix, verdict) for part in parts])
            block += 1


def _together(parts: list[UniformOutcomes | list[Outcome]]) -> UniformOutcomes | list[Outcome]:
    """The parts of a block, in the order of their rows. Each is in order itself, so that sorting finds little to do."""
    first = parts[0]
    if type(first) is UniformOutcomes and all(
        type(part) is UniformOutcomes and part.kind == first.kind for part in parts
    ):
        entries = [entry for part in parts for entry in part.entries]  # type: ignore[union-attr]  # all are alike
        entries.sort(key=itemgetter(0))
        return UniformOutcomes(first.kind, entries)
    outcomes = [outcome for part in parts for outcome in singly(part)]
    outcomes.sort(key=itemgetter(0))
    return outcomes
