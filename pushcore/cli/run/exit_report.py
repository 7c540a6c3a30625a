"""The last words of a run, and its exit status."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import click

from ...audience.problems import printable
from ...payloads.devices import APNS, FCM, NAMES
from ...payloads.formats import CREDENTIALS
from ..report.notices import say
from ..report.tally import ResultCounts, count_rows, how_many
from ..statuses import BAD_INPUT, INCOMPLETE, OK, STOPPED
from .journals import CampaignProgress


@dataclass(slots=True)
class ExitReport:
    """How a run ended, of one process or of all.

    `seconds` that it took. `rows`: how many were taken. `upto`: the last one that was read. `ended`: there are no more.
    `unserved`: how many are of a provider that was not given. `signalled`: it was told to stop. `trips`: by provider, why
    nothing more was sent to it. `problem`: what broke, in words.
    """

    seconds: float = 0.0
    rows: int = 0
    upto: int = 0
    ended: bool = False
    unserved: int = 0
    signalled: bool = False
    trips: dict[str, str] = field(default_factory=dict)
    problem: str | None = None

    def add(self, other: ExitReport) -> None:
        """Of another process of the same run."""
        self.rows += other.rows
        self.upto = max(self.upto, other.upto)
        self.ended = self.ended and other.ended
        self.unserved += other.unserved
        self.signalled = self.signalled or other.signalled
        self.trips = {**other.trips, **self.trips}
        self.problem = self.problem or other.problem


def conclude(
    report: ExitReport,
    counts: ResultCounts,
    platforms: Collection[str],
    *,
    name: str,
    summary: bool,
    parts: int = 1,
) -> int:
    """Say how a run without a journal ended, whose results are in `name`; the exit status."""
    if summary:
        for text in (how_many(counts.total, report.seconds), *counts.lines()):
            say_plain(text)
    if report.problem is not None:
        say(f"{report.problem}; rows that are not in {name} have no result")
        return INCOMPLETE
    after = f"rows after {report.upto}" if parts == 1 else f"rows that are not in {name}"
    if report.trips:
        none_left = len(report.trips) == len(platforms)
        _say_trips(report, platforms, f"; {after} were not read" if none_left and not report.ended else "")
        return STOPPED
    if report.signalled:
        say(f"stopped by a signal; {after} have no result")
        return INCOMPLETE
    if counts.total != report.rows:
        say(f"{report.rows - counts.total} rows have no result: please report it")
        return INCOMPLETE
    return _unserved(report, platforms)


def conclude_journal(
    report: ExitReport, before: int, progress: CampaignProgress, platforms: Collection[str], *, summary: bool
) -> int:
    """Say how a run ended whose campaign has come so far; the exit status. `before`: outcomes when it began."""
    path = printable(progress.path)
    if summary:
        say_plain(how_many(progress.done - before, report.seconds))
        if before:
            say_plain(f"with those of earlier runs: {count_rows(progress.done)}")
        for text in ResultCounts.of_journal(progress.tally).lines():
            say_plain(text)
    again = f"`pushcore resume {path}` goes on"
    if report.problem is not None:
        say(f"{report.problem}; {again}")
        return INCOMPLETE
    if report.trips:
        _say_trips(report, platforms, "" if progress.complete else f"; when that is mended, {again}")
        return STOPPED
    if not progress.complete:
        left = "" if progress.rows is None else f"{count_rows(progress.rows - progress.done)} left; "
        say(f"{'stopped by a signal' if report.signalled else 'incomplete'}; {left}{again}")
        return INCOMPLETE
    return _unserved(report, platforms)


def _say_trips(report: ExitReport, platforms: Collection[str], rest: str) -> None:
    for platform, sentence in report.trips.items():
        where = f" to {NAMES[platform]}" if len(platforms) > 1 else ""
        say(f"stopped, for every push{where} would fail: {printable(sentence)}{rest}")


def _unserved(report: ExitReport, platforms: Collection[str]) -> int:
    if report.rows and report.unserved == report.rows:
        (missing,) = {APNS, FCM} - set(platforms)
        say(f"no row could be sent: all are of {NAMES[missing]}, which needs {CREDENTIALS[missing]}")
        return BAD_INPUT
    return OK


def say_plain(text: str) -> None:
    """A line of the summary, on the standard error."""
    click.echo(text, err=True)
