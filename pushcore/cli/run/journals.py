"""The journals of a campaign: one per process, `campaign.db`, `campaign.db.1` and so on. The first path stands for all."""

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
from ...journal.database import SAVED
from ...journal.journal import Journal, JournalView, Source, Status, id_prefix
from ...journal.outcome import OutcomeEntry
from ...results import Result, Verdict
from ..report.results_file import keep_registered
from .journal_files import count_rows, files, is_lost, lost, replace_lost, shard_path

INSTANT: Final = 0.05
"""Seconds until a run that seems to be cut short is checked again: it may have been between two commits."""


class RowJournal(Journal):
    """A journal of rows of an audience, which may have the time at which a device was registered."""

    def _entry_of(self, result: Result) -> OutcomeEntry:
        if result.verdict is Verdict.UNREGISTERED:
            keep_registered(result)
        return super()._entry_of(result)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalPlan:
    """The journals of a run: those of a new campaign, or of one that continues.

    `parts`: their number. `before`: the number of rows with an outcome at the beginning. `options`: the options with which the
    campaign was started.
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
        """The journals of a new campaign.

        Raises:
            BadInput: the path has a campaign already.
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
    def resume(
        cls, path: str, unknown: Literal["report", "resend"], *, force: bool, audience: str | None = None
    ) -> JournalPlan:
        """The journals of a campaign that continues. With `force`, those that are lost are made again, with all rows in doubt.

        Raises:
            JournalError: its journals cannot be read.
            BadInput: the rows of `audience`, or of the audience of the campaign, cannot be counted for that.
        """
        if force:
            replace_lost(path, audience)
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
        """The paths of all journals."""
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
        """The rows of a part."""
        return Shard(number, self.parts, self.chunk)

    def open(self, number: int, audience: Audience, path: str) -> RowJournal:
        """Open the journal of a part for writing, for an audience at `path`. Raises `JournalError`."""
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

    def gather(self) -> str:
        """The path of the campaign's first journal after the run.

        If another file has the name of a journal, its process has saved the journal under another name. Then all of them are
        moved to the names of a campaign with the first journal `path` and `SAVED`.

        Raises:
            JournalError: a journal cannot be moved.
        """
        names = [name if self._has(name) else name + SAVED for name in self.paths]
        if names == self.paths or not all(map(self._has, names)):
            return self.path
        path = self.path + SAVED
        for number, name in enumerate(names):
            for kind in ("", "-wal"):
                source, target = name + kind, shard_path(path, number) + kind
                if source != target and os.path.exists(source):
                    try:
                        os.replace(source, target)
                    except OSError as error:
                        raise JournalError(
                            f"{source} cannot be renamed to {target} ({explain(error)})"
                        ) from error
        return path

    def _has(self, name: str) -> bool:
        """Whether this is a journal of the campaign."""
        try:
            with JournalView(name) as view:
                return view.campaign_id == self.campaign_id
        except JournalError:
            return False

    def discard(self, number: int) -> None:
        """Remove the journal that `open` has created for this part, after nothing was sent."""
        if self.fresh:
            for name in files(self.path, number):
                with contextlib.suppress(OSError):
                    os.unlink(name)


@contextlib.contextmanager
def views(path: str) -> Iterator[list[JournalView]]:
    """All journals of the campaign with the first journal `path`, for reading.

    Raises:
        JournalError: a journal is missing, is damaged, or belongs to another campaign.
    """
    with ExitStack() as stack:
        if is_lost(path) and not is_lost(shard_path(path, 1)):
            raise lost(path, path)
        first = stack.enter_context(JournalView(path))
        campaign = first.campaign
        if campaign.shard:
            raise JournalError(
                f"{path} is part {campaign.shard + 1} of the {campaign.shards} of a campaign; expected the first, which has "
                f"the same name without .{campaign.shard}"
            )
        journals = [first]
        for number in range(1, campaign.shards):
            name = shard_path(path, number)
            if is_lost(name):
                raise lost(path, name)
            view = stack.enter_context(JournalView(name))
            journals.append(view)
            if (view.campaign.id, view.campaign.shard) != (campaign.id, number):
                raise JournalError(f"{name} is not of the same campaign as {path}")
        yield journals


def _counted(journals: list[JournalView], statuses: tuple[Status, ...]) -> tuple[Status, ...]:
    """The statuses of a run that was killed, with the number of rows of its audience, if that has not changed.

    Rows are leased before they are read, up to one chunk after the last row, and a killed run has not recorded the last row.
    """
    source = journals[0].campaign.source
    try:
        if source.change(Source.of_file(source.path)) is not None:
            return statuses
        last = count_rows(source.path)
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
    """The number of rows in the metadata of the audience (Parquet), if the file has not changed; None otherwise."""
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
    """The status of a campaign over all its journals, like `Status`.

    `statuses`: of each journal. `foretold`: the number of rows in the metadata of the audience, if the journals have none.
    """

    path: str
    campaign_id: str
    options: Mapping[str, Any]
    statuses: tuple[Status, ...]
    running: bool
    foretold: int | None = None

    @classmethod
    def of(cls, path: str) -> CampaignProgress:
        """From the files of the campaign. Raises `JournalError`."""
        with views(path) as journals:
            for patience in (INSTANT, INSTANT, 0.0):
                # In this order, so that a run that ends meanwhile does not look like one that was cut short.
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
            if foretold is not None:  # rows are leased up to one chunk after the last row
                owned = [view.campaign.owned_upto(foretold) for view in journals]
                statuses = tuple(
                    replace(status, started=min(status.started, own))
                    for status, own in zip(statuses, owned, strict=True)
                )
            first = journals[0]
            return cls(path, first.campaign_id, first.options, statuses, running, foretold)

    @property
    def cut_short(self) -> bool:
        """Whether a process of the last run did not record its end."""
        return not self.running and any(status.ended is None for status in self.statuses)

    @property
    def problems(self) -> list[str]:
        """The reasons why the last run ended early, each once."""
        problems = dict.fromkeys(status.problem for status in self.statuses if status.problem is not None)
        return [] if self.running else [*problems]

    @property
    def rows(self) -> int | None:
        """The number of rows, None while it is unknown."""
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
