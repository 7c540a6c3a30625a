"""`pushcore resume`: continues a campaign with a journal."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...audience.problems import BadInput, printable
from ..options import credential_options, push_options, report_options, sending_options
from ..profiles import settings_options
from ..run.client_options import ClientOptions
from ..run.job import Job
from ..run.journals import JournalPlan
from ..run.sending import SendingOptions
from ..sections import add, argument, command, section
from ..statuses import exit_statuses

HELP = """Continue a campaign of `pushcore send --journal` after a signal, a kill or a power failure.

\b
  pushcore resume campaign.db --apns-key AuthKey_ABC123DEFG.p8 \\
      --key-id ABC123DEFG --team-id TEAM123456 --topic com.example.app \\
      --payload payload.json

Give the same credentials and payload as before: the journal contains neither. Rows with an outcome are not sent again. Rows
that may have been sent before a kill are recorded as UNKNOWN, or sent again with --retry resend. If the audience has changed,
nothing is sent. docs/guides/sending.md is the guide.

\f
""" + exit_statuses("resume")

_rows = section("Audience and results")
_OPTIONS = (
    _rows("--audience", metavar="FILE", help="The same devices, if the file has been moved."),
    _rows(
        "--results",
        metavar="FILE",
        help="File for the results of the whole campaign; by default that of `send`.",
    ),
    _rows(
        "--force",
        is_flag=True,
        help="Continue although the audience has changed, or a process's journal is lost.",
    ),
    *report_options,
)


@command(help=HELP, short_help="Continue a campaign with a journal.")
@argument("journal", metavar="JOURNAL")
@partial(add, options=_OPTIONS)
@push_options
@credential_options
@sending_options
@settings_options
def resume(
    journal: str,
    audience: str | None,
    results: str | None,
    force: bool,
    quiet: bool,
    json: bool,
    results_raw: bool,
    **options: Any,
) -> int:
    """Runs the command; the exit status."""
    sender, sending = ClientOptions.of(options), SendingOptions.of(options)
    plan = JournalPlan.resume(
        journal, "resend" if sending.retry == "resend" else "report", force=force, audience=audience
    )
    if audience is None:
        audience = _text(plan.options.get("audience"))
        if audience is None:
            raise BadInput(f"{printable(journal)} does not name its audience; expected --audience FILE")
    results = results if results is not None else _text(plan.options.get("results"))
    if json and results == "-":
        raise BadInput("--json writes to the standard output; expected no --results - with it")
    return Job(
        sender=sender,
        sending=sending,
        audience=audience,
        results=results,
        plan=plan,
        processes=plan.parts,
        quiet=quiet,
        as_json=json,
        results_raw=results_raw,
        unique=plan.options.get("unique") is True,
    ).run()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
