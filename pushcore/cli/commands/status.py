"""`pushcore status`: shows the progress of a campaign, also while it runs."""

from __future__ import annotations

import datetime
import time
from typing import Any

import click
import orjson

from ...audience.problems import printable
from ..report.tally import ResultCounts
from ..run.journals import CampaignProgress
from ..sections import argument, command, option
from ..statuses import OK, exit_statuses

HELP = """Show the progress of a campaign with a journal, also during the run, from another terminal.

\b
  pushcore status campaign.db

`started` rows may have been sent, `done` rows have an outcome, and `repeats` were sent again after a kill (--retry
resend). `state` is running, complete, stopped (`why` has the reason) or cut short: the last run was killed, or could not
record its end. `pushcore resume` continues a campaign that is not complete. No key is needed.

--json writes one object: campaign, audience, state, why (texts, or null), rows (null before a CSV or NDJSON has been read),
started, done, repeats, verdicts (rows by verdict), reasons (platform, verdict, reason and rows of each kind), runs,
cut_short (how many of them), processes, rate (rows a second in the last run, or null), began and updated (ISO 8601 in UTC).

""" + exit_statuses("status")
_WIDTH = 10


@command(offline=True, help=HELP, short_help="Show the progress of a campaign.")
@argument("journal", metavar="JOURNAL")
@option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def status(journal: str, as_json: bool) -> int:
    """Runs the command; the exit status."""
    progress = CampaignProgress.of(journal)
    values = summary(progress, time.time())
    if as_json:
        click.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2).decode())
    else:
        for line in describe(values) + ResultCounts.of_journal(progress.tally).advice():
            click.echo(line)
    return OK


def summary(progress: CampaignProgress, now: float) -> dict[str, Any]:
    """The progress as JSON values."""
    statuses = progress.statuses
    audience = progress.options.get("audience")
    verdicts: dict[str, int] = {}
    reasons = []
    for (platform, verdict, reason), count in progress.tally.most_common():
        verdicts[verdict] = verdicts.get(verdict, 0) + count
        kind = {"platform": platform or None, "verdict": verdict, "reason": _text(reason) or None}
        reasons.append({**kind, "rows": count})
    return {
        "campaign": progress.campaign_id,
        "audience": _text(audience) if isinstance(audience, str) else None,
        "state": _state(progress),
        "why": _text("; ".join(progress.problems)) or None,
        "rows": progress.rows,
        "started": progress.started,
        "done": progress.done,
        "verdicts": verdicts,
        "reasons": reasons,
        "repeats": progress.repeats,
        "runs": max(status.runs for status in statuses),
        "cut_short": max(status.cut_short for status in statuses) + progress.cut_short,
        "processes": len(statuses),
        "rate": _rate(progress, now),
        "began": _moment(min(status.began for status in statuses)),
        "updated": _moment(max(status.updated for status in statuses)),
    }


def describe(values: dict[str, Any]) -> list[str]:
    """A summary as lines."""
    rows, done, verdicts = values["rows"], values["done"], values["verdicts"]
    share = f" ({done / rows:.1%})" if rows else ""
    runs = str(values["runs"])
    if values["cut_short"]:
        runs += f", {values['cut_short']} of them cut short"
    if values["processes"] > 1:
        runs += f"; {values['processes']} processes"
    lines = [
        ("campaign", values["campaign"]),
        ("audience", printable(values["audience"] or "unknown")),
        ("state", values["state"]),
        *([("why", printable(values["why"]))] if values["why"] else []),
        ("rows", "not known before all have been read" if rows is None else f"{rows:,}"),
        ("started", f"{values['started']:,}"),
        ("done", f"{done:,}{share}"),
        *(
            (f"  {verdict:<13}", f" {verdicts[verdict]:>12,}")
            for verdict in sorted(verdicts, key=verdicts.get, reverse=True)
        ),
        ("repeats", f"{values['repeats']:,}"),
        ("runs", runs),
        ("rate", _pace(values)),
        ("began", values["began"]),
        ("updated", values["updated"]),
    ]
    return [f"{name:<{_WIDTH}}{text}" for name, text in lines]


def _text(text: str) -> str:
    """The text without surrogates, which stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()


def _state(progress: CampaignProgress) -> str:
    if progress.running:
        return "running"
    if progress.complete:
        return "complete"
    return "cut short" if progress.cut_short else "stopped"


def _rate(progress: CampaignProgress, now: float) -> float | None:
    """Rows per second in the last run."""
    done = sum(status.done - status.run_done for status in progress.statuses)
    began = min(status.run_began for status in progress.statuses)
    until = now if progress.running else max(status.updated for status in progress.statuses)
    seconds = until - began
    return round(done / seconds, 1) if done > 0 and seconds > 0 else None


def _pace(values: dict[str, Any]) -> str:
    running = values["state"] == "running"
    if values["rate"] is None:
        return "nothing yet" if running else "nothing in the last run"
    return f"{values['rate']:,.0f} a second in {'this' if running else 'the last'} run"


def _moment(timestamp: float) -> str:
    moment = datetime.datetime.fromtimestamp(round(timestamp), datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
