"""The final messages of a run, and its exit status."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import click
import orjson

from ...audience.problems import printable
from ...payloads.devices import APNS, FCM, NAMES
from ...payloads.formats import CREDENTIALS
from ..report.notices import say
from ..report.tally import ResultCounts, count_rows, how_many
from ..statuses import BAD_INPUT, INCOMPLETE, OK, STOPPED
from .journals import CampaignProgress


@dataclass(slots=True)
class ExitReport:
    """The end of a run, of one process or of all.

    `seconds`: its duration. `rows`: the number of rows. `upto`: the last row that was read. `ended`: whether all rows were
    read. `unserved`: rows for a provider without credentials. `signalled`: whether it was stopped by a signal or another
    process. `trips`: by provider, why the breaker has stopped it. `problem`: an error, as text. `first_result`,
    `last_result`: seconds from `--start-at` to the first and the last result, 0 without one.
    """

    seconds: float = 0.0
    rows: int = 0
    upto: int = 0
    ended: bool = False
    unserved: int = 0
    signalled: bool = False
    trips: dict[str, str] = field(default_factory=dict)
    problem: str | None = None
    first_result: float = 0.0
    last_result: float = 0.0

    def lines(self) -> list[str]:
        """The line about `--start-at` in the summary."""
        if not self.first_result:
            return []
        return [
            f"first result {self.first_result:.3f} s after --start-at, last after {self.last_result:.3f} s"
        ]

    def times(self) -> dict[str, float]:
        """The same for `--json`."""
        if not self.first_result:
            return {}
        return {
            "first_result": round(self.first_result, 3),
            "last_result": round(self.last_result, 3),
        }

    def add(self, other: ExitReport) -> None:
        """Add the report of another process of the same run."""
        self.rows += other.rows
        self.upto = max(self.upto, other.upto)
        self.ended = self.ended and other.ended
        self.unserved += other.unserved
        self.signalled = self.signalled or other.signalled
        self.trips = {**other.trips, **self.trips}
        self.problem = self.problem or other.problem
        firsts = [first for first in (self.first_result, other.first_result) if first]
        self.first_result = min(firsts, default=0.0)
        self.last_result = max(self.last_result, other.last_result)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The exit status of a run, and its message."""

    status: int
    sentences: tuple[str, ...] = ()

    def tell(
        self, seconds: float, counts: ResultCounts, *, as_json: bool, report: ExitReport | None = None
    ) -> int:
        """Print the message; with `as_json` write the summary to the standard output as one JSON object. Returns the exit status.

        Raises:
            OSError: the standard output cannot be written.
        """
        for text in self.sentences:
            say(text)
        if as_json:
            summary = {
                "exit_status": self.status,
                "message": "; ".join(self.sentences) or None,
                "seconds": round(seconds, 3),
                **({} if report is None else report.times()),
                **counts.to_dict(),
            }
            click.echo(orjson.dumps(summary, option=orjson.OPT_INDENT_2).decode())
        return self.status


def conclude(
    report: ExitReport,
    counts: ResultCounts,
    platforms: Collection[str],
    *,
    name: str,
    summary: bool,
    parts: int = 1,
    as_json: bool = False,
) -> int:
    """Print how a run without a journal ended, with its results in `name`; returns the exit status."""
    if summary and not as_json:
        for text in (how_many(counts.total, report.seconds), *report.lines(), *counts.lines()):
            say_plain(text)
    return _concluded(report, counts, platforms, name, parts).tell(
        report.seconds, counts, as_json=as_json, report=report
    )


def _concluded(
    report: ExitReport, counts: ResultCounts, platforms: Collection[str], name: str, parts: int
) -> Conclusion:
    if report.problem is not None:
        return Conclusion(INCOMPLETE, (f"{report.problem}; rows that are not in {name} have no result",))
    after = f"rows after {report.upto}" if parts == 1 else f"rows that are not in {name}"
    if report.trips:
        none_left = len(report.trips) == len(platforms)
        rest = f"; {after} were not read" if none_left and not report.ended else ""
        return Conclusion(STOPPED, _of_trips(report, platforms, rest))
    if report.signalled:
        return Conclusion(INCOMPLETE, (f"stopped by a signal; {after} have no result",))
    if counts.total != report.rows:
        return Conclusion(
            INCOMPLETE, (f"{report.rows - counts.total} rows have no result: please report it",)
        )
    return _unserved(report, platforms)


def conclude_journal(
    report: ExitReport,
    before: int,
    progress: CampaignProgress,
    platforms: Collection[str],
    *,
    summary: bool,
    written: int = OK,
    as_json: bool = False,
) -> int:
    """Print how a run with a journal ended; returns the exit status.

    `before`: the number of outcomes at its beginning. `written`: the status of writing the results; it replaces an `OK`.
    """
    counts = ResultCounts.of_journal(progress.tally)
    if summary and not as_json:
        say_plain(how_many(progress.done - before, report.seconds))
        if before:
            say_plain(f"with those of earlier runs: {count_rows(progress.done)}")
        for text in (*report.lines(), *counts.lines()):
            say_plain(text)
    conclusion = _concluded_journal(report, progress, platforms)
    if conclusion.status == OK:
        conclusion = replace(conclusion, status=written)
    return conclusion.tell(report.seconds, counts, as_json=as_json, report=report)


def _concluded_journal(
    report: ExitReport, progress: CampaignProgress, platforms: Collection[str]
) -> Conclusion:
    again = f"`pushcore resume {printable(progress.path)}` continues"
    if report.problem is not None:
        return Conclusion(INCOMPLETE, (f"{report.problem}; {again}",))
    if report.trips:
        rest = "" if progress.complete else f"; after the cause is fixed, {again}"
        return Conclusion(STOPPED, _of_trips(report, platforms, rest))
    if not progress.complete:
        left = "" if progress.rows is None else f"{count_rows(progress.rows - progress.done)} left; "
        why = "stopped by a signal" if report.signalled else "incomplete"
        return Conclusion(INCOMPLETE, (f"{why}; {left}{again}",))
    return _unserved(report, platforms)


def _of_trips(report: ExitReport, platforms: Collection[str], rest: str) -> tuple[str, ...]:
    return tuple(
        f"stopped, because every push{f' to {NAMES[platform]}' if len(platforms) > 1 else ''} would fail: "
        f"{printable(sentence)}{rest}"
        for platform, sentence in report.trips.items()
    )


def _unserved(report: ExitReport, platforms: Collection[str]) -> Conclusion:
    if report.rows and report.unserved == report.rows:
        (missing,) = {APNS, FCM} - set(platforms)
        text = f"no row could be sent: all are of {NAMES[missing]}, which needs {CREDENTIALS[missing]}"
        return Conclusion(BAD_INPUT, (text,))
    return Conclusion(OK)


def say_plain(text: str) -> None:
    """Print a line of the summary on the standard error."""
    click.echo(text, err=True)
