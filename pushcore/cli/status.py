"""`pushcore status`: how far a campaign is, also while it runs."""

from __future__ import annotations

import datetime
import time
from collections import Counter

import click

from .journals import Progress
from .problems import OK, printable
from .sections import command
from .tally import Counts

HELP = """Say how far a campaign with a journal is, also while it runs, from another terminal.

\b
  pushcore status campaign.db

`started` rows may have been sent, `done` rows have an outcome. `repeats` are rows that were sent again after a kill
(--retry resend). `state` is running, complete, stopped, or killed, which says that the last run did not end by itself;
what is not complete goes on with `pushcore resume`. Needs no key. Exit status: 0, or 2 when the journal cannot be read.
"""
_WIDTH = 10


@command(help=HELP, short_help="Say how far a campaign is.")
@click.argument("journal", metavar="JOURNAL")
def status(journal: str) -> int:
    """Runs the command; the exit status."""
    for line in describe(Progress.of(journal), time.time()):
        click.echo(line)
    return OK


def describe(progress: Progress, now: float) -> list[str]:
    """The lines that say it."""
    statuses = progress.statuses
    rows = progress.rows
    lines = [
        _line("campaign", progress.campaign_id),
        _line("audience", printable(str(progress.options.get("audience", "unknown")))),
        _line("state", _state(progress)),
        _line("rows", "not known before all have been read" if rows is None else f"{rows:,}"),
        _line("started", f"{progress.started:,}"),
        _line("done", f"{progress.done:,}{_share(progress.done, rows)}"),
    ]
    counts: Counter[str] = sum((each.verdicts for each in statuses), Counter())
    lines += [f"  {verdict:<13} {count:>12,}" for verdict, count in counts.most_common()]
    lines += [
        _line("repeats", f"{progress.repeats:,}"),
        _line("runs", _runs(progress)),
        _line("rate", _rate(progress, now)),
        _line("began", _moment(min(each.began for each in statuses))),
        _line("updated", _moment(max(each.updated for each in statuses))),
    ]
    return lines + Counts.of_journal(progress.tally).advice()


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _state(progress: Progress) -> str:
    if progress.running:
        return "running"
    if progress.complete:
        return "complete"
    return "killed" if _killed(progress) else "stopped"


def _killed(progress: Progress) -> bool:
    return any(each.ended is None for each in progress.statuses)


def _share(done: int, rows: int | None) -> str:
    return f" ({done / rows:.1%})" if rows else ""


def _runs(progress: Progress) -> str:
    runs = max(each.runs for each in progress.statuses)
    last = not progress.running and _killed(progress)
    kills = max(each.kills for each in progress.statuses) + last
    text = f"{runs}, {kills} of them killed" if kills else str(runs)
    parts = len(progress.statuses)
    return text if parts == 1 else f"{text}; {parts} processes"


def _rate(progress: Progress, now: float) -> str:
    """Of the last run."""
    done = sum(each.done - each.run_done for each in progress.statuses)
    began = min(each.run_began for each in progress.statuses)
    until = now if progress.running else max(each.updated for each in progress.statuses)
    seconds = until - began
    if done <= 0 or seconds <= 0:
        return "nothing in the last run" if not progress.running else "nothing yet"
    return f"{done / seconds:,.0f} a second in {'this' if progress.running else 'the last'} run"


def _moment(timestamp: float) -> str:
    moment = datetime.datetime.fromtimestamp(round(timestamp), datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
