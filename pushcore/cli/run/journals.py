"""The journals of a campaign: one for each process, `campaign.db`, `campaign.db.1` and so on; the first names them all."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain, printable
from ...audience.shards import Shard
from ...errors import JournalError
from ...journal.journal import Journal, JournalView, Source, Status, id_prefix
from ...journal.outcome import OutcomeEntry
from ...results import Result, Verdict
from ..report.results_file import keep_registered

INSTANT: Final = 0.05
"""Seconds until it is looked again whether a run that seems to be cut short is between two commits."""


def shard_path(path: str, number: int) -> str:
    """The path of a part's journal: the first one has the campaign's name."""
    return path if number == 0 else f"{path}.{number}"


class RowJournal(Journal):
    """A journal of rows of an audience, which say when their devices were registered."""

    def _entry_of(self, result: Result) -> OutcomeEntry:
        if result.verdict is Verdict.UNREGISTERED:
            keep_registered(result)
        return super()._entry_of(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPlan:
    """Which journals a run writes: those of a new campaign, or those of one that goes on.

    `parts`: how many there are. `before`: how many rows had an outcome. `options`: what the campaign was begun with.
    """

    path: str
    campaign_id: str
    fresh: bool
    parts: int
    chunk: int
    options: Mapping[str, Any] = field(default_factory=dict)
    before: int = 0
    unknown: Literal["report", "resend"] = "report"
    force: bool = False

    @classmethod
    def begin(
        cls, path: str, parts: int, audience: str, results: str | None, *, unique: bool = False
    ) -> JournalPlan:
        """A new campaign.

        Raises:
            BadInput: there is one already.
        """
        options: dict[str, Any] = {"audience": os.path.abspath(audience)}
        if unique:
            options["unique"] = True
        if results is not None and results != "-":
            options["results"] = os.path.abspath(results)
        chunk = Shard().chunk
        plan = cls(
            path=path,
            campaign_id=secrets.token_hex(8),
            fresh=True,
            parts=parts,
            chunk=chunk,
            options=options,
        )
        for name in plan.paths:
            if os.path.lexists(name):
                raise BadInput(
                    f"{printable(name)} exists already; `pushcore resume {printable(path)}` continues its campaign, "
                    "a new one needs another name"
                )
        return plan

    @classmethod
    def resume(cls, path: str, unknown: Literal["report", "resend"], *, force: bool) -> JournalPlan:
        """A campaign that goes on.

        Raises:
            JournalError: its journals cannot be read.
        """
        with views(path) as journals:
            campaign = journals[0].campaign
            return cls(
                path=path,
                campaign_id=campaign.id,
                fresh=False,
                parts=campaign.shards,
                chunk=campaign.chunk_size,
                options=campaign.options,
                before=sum(view.status().done for view in journals),
                unknown=unknown,
                force=force,
            )

    @property
    def paths(self) -> list[str]:
        """Of all journals."""
        return [shard_path(self.path, number) for number in range(self.parts)]

    @property
    def files(self) -> list[str]:
        """The files that results must not overwrite."""
        return [name for number in range(self.parts) for name in files(self.path, number)]

    @property
    def id_prefix(self) -> str:
        """The prefix of the campaign's apns-ids."""
        return id_prefix(self.campaign_id)

    def shard(self, number: int) -> Shard:
        """The rows of that part."""
        return Shard(number, self.parts, self.chunk)

    def open(self, number: int, audience: Audience, path: str) -> RowJournal:
        """The journal of a part, to be written, for an audience at `path`. Raises `JournalError`."""
        try:
            source = Source.of_file(path)
        except OSError as error:
            raise BadInput(
                f"{audience.name} cannot be read ({explain(error)}); expected an audience"
            ) from None
        if not audience.same_file(path):
            raise BadInput(f"{audience.name} has been replaced by another file; nothing was sent")
        name = shard_path(self.path, number)
        if self.fresh:
            return RowJournal.create(
                name,
                source,
                chunk_size=self.chunk,
                campaign_id=self.campaign_id,
                shard=number,
                shards=self.parts,
                options=self.options,
            )
        return RowJournal.open(
            name, source, unknown=self.unknown, force=self.force, campaign_id=self.campaign_id
        )

    def discard(self, number: int) -> None:
        """Nothing was sent with the journal of this part, which `open` gave: if it is new, it need not stay."""
        if self.fresh:
            for name in files(self.path, number):
                with contextlib.suppress(OSError):
                    os.unlink(name)


def files(path: str, number: int) -> tuple[str, ...]:
    """All that the journal of a part may be on the disk."""
    path = shard_path(path, number)
    return path, f"{path}-wal", f"{path}-shm", f"{path}-reserve"


@contextlib.contextmanager
def views(path: str) -> Iterator[list[JournalView]]:
    """All journals of the campaign whose first one is `path`, to be read.

    Raises:
        JournalError: one is not there, is damaged, or is of another campaign.
    """
    with ExitStack() as stack:
        first = stack.enter_context(JournalView(path))
        campaign = first.campaign
        if campaign.shard:
            raise JournalError(
                f"{path} is part {campaign.shard + 1} of the {campaign.shards} of a campaign; expected the first, which has "
                f"the same name without .{campaign.shard}"
            )
        journals = [first]
        for number in range(1, campaign.shards):
            view = stack.enter_context(JournalView(shard_path(path, number)))
            journals.append(view)
            if (view.campaign.id, view.campaign.shard) != (campaign.id, number):
                raise JournalError(f"{shard_path(path, number)} is not of the same campaign as {path}")
        yield journals


def _counted(journals: list[JournalView], statuses: tuple[Status, ...]) -> tuple[Status, ...]:
    """The statuses of a run that was killed, with the number of rows that its audience has, if that is as it was.

    Rows are leased before they are read, up to a chunk beyond the last one that there is, and a killed run has not
    said where that was.
    """
    source = journals[0].campaign.source
    last = 0

    def on_bad(number: int, token: str, reason: str) -> None:
        nonlocal last
        last = number

    try:
        if source.change(Source.of_file(source.path)) is not None:
            return statuses
        with Audience(source.path) as audience:
            last = audience.rows or 0
            for number, _ in audience.records(on_bad) if audience.rows is None else ():
                last = number
    except (OSError, BadInput):
        return statuses
    counted = []
    for view, status in zip(journals, statuses, strict=True):
        own = view.campaign.owned_upto(last)
        counted.append(
            replace(status, rows=own, started=min(status.started, own)) if status.rows is None else status
        )
    return tuple(counted)


def _foretold(journals: list[JournalView]) -> int | None:
    """How many rows the audience says that it has, as a Parquet file does, if that is as it was; None where it does not."""
    source = journals[0].campaign.source
    try:
        if source.change(Source.of_file(source.path)) is not None:
            return None
        with Audience(source.path) as audience:
            return audience.rows
    except (OSError, BadInput):
        return None


@dataclass(frozen=True, slots=True)
class CampaignProgress:
    """The status of a campaign, over all its journals: as `Status`.

    `statuses`: of each of them. `foretold`: how many rows its audience says that it has, where that is all that is known.
    """

    path: str
    campaign_id: str
    options: Mapping[str, Any]
    statuses: tuple[Status, ...]
    running: bool
    foretold: int | None = None

    @classmethod
    def of(cls, path: str) -> CampaignProgress:
        """By what is on the disk. Raises `JournalError`."""
        with views(path) as journals:
            for patience in (INSTANT, INSTANT, 0.0):
                # In this order: a run that ends meanwhile is not taken for one that was cut short.
                running = any(view.running for view in journals)
                statuses = tuple(view.status() for view in journals)
                if running or all(status.ended is not None for status in statuses):
                    break
                time.sleep(patience)
            if not running and any(status.ended is None and status.rows is None for status in statuses):
                statuses = _counted(journals, statuses)
            foretold = None
            if any(status.rows is None for status in statuses):
                foretold = _foretold(journals)
            if foretold is not None:  # rows are leased up to a chunk beyond the last
                owned = [view.campaign.owned_upto(foretold) for view in journals]
                statuses = tuple(
                    replace(status, started=min(status.started, own))
                    for status, own in zip(statuses, owned, strict=True)
                )
            first = journals[0]
            return cls(path, first.campaign_id, first.options, statuses, running, foretold)

    @property
    def cut_short(self) -> bool:
        """Whether a process of the last run did not write down how it ended."""
        return not self.running and any(status.ended is None for status in self.statuses)

    @property
    def problems(self) -> list[str]:
        """The reasons why the last run ended early, each once."""
        problems = dict.fromkeys(status.problem for status in self.statuses if status.problem is not None)
        return [] if self.running else [*problems]

    @property
    def rows(self) -> int | None:
        """How many there are, None while that is not known."""
        known = [status.rows for status in self.statuses if status.rows is not None]
        return sum(known) if len(known) == len(self.statuses) else self.foretold

    @property
    def started(self) -> int:
        """Rows that may have been sent."""
        return sum(status.started for status in self.statuses)

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return sum(status.done for status in self.statuses)

    @property
    def repeats(self) -> int:
        """The number of rows that were sent again after a kill."""
        return sum(status.repeats for status in self.statuses)

    @property
    def complete(self) -> bool:
        """Whether every row has its outcome."""
        return all(status.complete for status in self.statuses)

    @property
    def tally(self) -> Counter[tuple[str, str, str]]:
        """Rows by platform, verdict and reason."""
        tally: Counter[tuple[str, str, str]] = Counter()
        for status in self.statuses:
            tally.update(status.tally)
        return tally
