"""`pushcore send`: sends a payload to an audience, and writes one result per row."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from ...audience.audience import Audience
from ...audience.problems import BadInput
from ...audience.shards import MAX_PROCESSES
from ...payloads.duplicates import TokenSample
from ..options import credential_options, push_options, report_options, sending_options
from ..profiles import settings_options
from ..report.notices import say, showing_warnings
from ..report.output import refuse_same_file
from ..report.results_file import ResultsFile
from ..run.client_options import ClientOptions
from ..run.dry_run import dry_run as try_all
from ..run.job import Job, duplicates_of
from ..run.journals import JournalPlan
from ..run.run_plan import nowhere
from ..run.sending import SendingOptions
from ..sections import add, command, section
from ..statuses import exit_statuses

HELP = """Push to every device of an audience, through APNs, FCM or both, and write the result of each push.

\b
  pushcore send --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app \\
      --fcm-service-account service-account.json \\
      --audience devices.csv --payload payload.json --results results.csv

The audience needs a column "token". {{column}} in the payload is replaced by the row's value. Every option can also be an
environment variable (PUSHCORE_APNS_KEY for --apns-key) or a key in the file of --config. docs/guides/sending.md is the guide.

\f
""" + exit_statuses("send")

_rows = section("Audience and results")
_OPTIONS = (
    _rows("--audience", required=True, metavar="FILE", help="The devices: CSV, NDJSON or Parquet."),
    _rows("--results", metavar="FILE", help='File for the results; "-" is the standard output.'),
    _rows("--journal", metavar="FILE", help="New file that records what was sent, for `pushcore resume`."),
    _rows(
        "--unique",
        rare=True,
        is_flag=True,
        help="Send to each device once: later rows with the same device are INVALID.",
    ),
    _rows("--dry-run", is_flag=True, help="Send nothing, and print what would be sent."),
    *report_options,
)
_PROCESSES = (
    section("Sending")(
        "--processes",
        rare=True,
        type=click.IntRange(1, MAX_PROCESSES),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of processes, for example one per core; each has its own connections and window.",
    ),
)


@command(help=HELP, short_help="Push to every device of an audience.")
@partial(add, options=_OPTIONS)
@push_options
@credential_options
@sending_options
@partial(add, options=_PROCESSES)
@settings_options
def send(
    audience: str,
    results: str | None,
    journal: str | None,
    unique: bool,
    dry_run: bool,
    quiet: bool,
    json: bool,
    results_raw: bool,
    processes: int,
    **options: Any,
) -> int:
    """Runs the command; the exit status."""
    sender, sending = ClientOptions.of(options), SendingOptions.of(options)
    if json and (dry_run or results == "-"):
        raise BadInput(
            "--json writes to the standard output; expected neither --dry-run nor --results - with it"
        )
    if dry_run:
        if quiet or results == "-":
            raise BadInput(
                "--dry-run writes to the standard output; expected neither --quiet nor --results - with it"
            )
        if journal is not None:
            raise BadInput(
                "--dry-run and --journal exclude each other: nothing is sent; expected one of them"
            )
        return _try_all(sender, audience, results, raw=results_raw, unique=unique)
    if results is None and journal is None:
        raise BadInput('--results FILE is missing, or --journal FILE; "-" is the standard output')
    if processes > 1 and not hasattr(os, "fork"):
        raise BadInput("--processes needs a system that can fork; expected 1")
    plan = (
        None if journal is None else JournalPlan.begin(journal, processes, audience, results, unique=unique)
    )
    return Job(
        sender=sender,
        sending=sending,
        audience=audience,
        results=results,
        plan=plan,
        processes=processes,
        quiet=quiet,
        as_json=json,
        results_raw=results_raw,
        unique=unique,
    ).run()


def _try_all(sender: ClientOptions, audience: str, results: str | None, *, raw: bool, unique: bool) -> int:
    clients = sender.clients()
    with showing_warnings(), Audience(audience) as source:
        template = sender.template(clients)
        if results is not None:
            if source.same_file(results):
                raise BadInput(f"{results} is the audience; expected another file for the results")
            refuse_same_file(results, *sender.files)
        duplicates = duplicates_of(source, audience, list(clients)) if unique else None
        sample = None if unique else TokenSample()
        rows = template.rows(source, nowhere, sample=sample, duplicates=duplicates)
        for notice in (*source.notices, *rows.notices, *template.notices_of(source)):
            say(notice)
        report = ResultsFile.to_file(results if results is not None else os.devnull, raw=raw)
        rows.on_bad = report.bad_row
        return try_all(clients, rows, report)
