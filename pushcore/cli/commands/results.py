"""`pushcore results`: writes the results of a campaign with a journal."""

from __future__ import annotations

import click

from ...audience.problems import printable
from ...engine.collector import relax_collector
from ...journal.format import singly
from ...results import Verdict
from ..options import results_raw_option
from ..report.notices import say
from ..report.outcomes import FORMATS, outcomes_of, write
from ..report.output import open_bytes, refuse_same_file
from ..report.tally import count_rows
from ..run.journal_files import files
from ..run.journals import CampaignProgress, views
from ..sections import argument, command, option
from ..statuses import OK, exit_statuses

HELP = """Write the results of a campaign with a journal, in the order of the audience; also during the run.

\b
  pushcore results campaign.db --verdict UNREGISTERED --output dead.csv

The columns are those of `pushcore send --results`. Rows without an outcome are left out; their number is printed. In
NDJSON and Parquet, numbers and drop_token have their type, and an empty field of CSV is null. No key is needed.

""" + exit_statuses("results")


@command(offline=True, help=HELP, short_help="Write the results of a campaign.")
@argument("journal", metavar="JOURNAL")
@option("--format", "form", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True, help="Format.")
@option(
    "--verdict",
    "verdicts",
    type=click.Choice([verdict.value for verdict in Verdict]),
    multiple=True,
    metavar="VERDICT",
    help=f"Only rows with this verdict ({', '.join(verdict.value for verdict in Verdict)}); can be repeated.",
)
@results_raw_option
@option("--output", metavar="FILE", default="-", help="Output file; by default the standard output.")
def results(journal: str, form: str, verdicts: tuple[str, ...], results_raw: bool, output: str) -> int:
    """Runs the command; the exit status."""
    wanted = {Verdict[verdict] for verdict in verdicts}
    relax_collector()
    with views(journal) as journals:
        refuse_same_file(
            output, *(name for number in range(len(journals)) for name in files(journal, number))
        )
        outcomes = outcomes_of(journals, next(iter(wanted)) if len(wanted) == 1 else None)
        if len(wanted) > 1:
            outcomes = (
                [verdict for verdict in singly(batch) if verdict.verdict in wanted] for batch in outcomes
            )
        file, _ = open_bytes(output, "the results")
        with file:
            write(outcomes, file, form, raw=results_raw)
    progress = CampaignProgress.of(journal)
    if not progress.complete:
        left = "" if progress.rows is None else f"{count_rows(progress.rows - progress.done)} of "
        say(f"{left}{printable(journal)} {'have' if left else 'has rows that have'} no outcome yet")
    return OK
