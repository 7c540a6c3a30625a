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

    `rows`: the number of rows to send, None while it is not known. `started`: rows that may have been sent.
    `done`: rows with an outcome; `verdicts` and `tally` (by platform, verdict and reason) count them. `repeats`: how
    often a row was sent again after a kill. `runs`: all, and `cut_short` those before the last that did not write down
    how they ended. `updated`: the last sign of life. `ended`: the end of the last run; None while it runs, and when it
    was cut short: killed, or by a disk too full even for that. `problem`: why it ended early, if it said. `run_began`: the
    last run, and `run_done`: how many rows had an outcome then.
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

    The file is closed by `close`, at the end of a `with` block, or when the view is no longer used.

    Its methods raise `JournalError` where the file is damaged.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
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
        """The status now."""
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
        """Whether a process is sending with it now. Between two commits it may seem not to, for an instant."""
        return self._store.has_writer()

    def results(self, verdict: Verdict | None = None) -> Iterator[Outcome]:
        """The outcomes that there are, or those with this verdict, in the order of their rows. Memory does not grow."""
        return chain.from_iterable(map(singly, self.batches(verdict)))

    def batches(self, verdict: Verdict | None = None) -> Iterator[UniformOutcomes | list[Outcome]]:
        """The same, many at a time: for callers with a faster path for equal outcomes."""
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
