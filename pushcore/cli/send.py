"""`pushcore send`: an audience and a payload in, a row of results for each row out."""

from __future__ import annotations

from typing import Any

import click

from .audience import Audience
from .campaign import Campaign
from .options import Apns, apns_options
from .problems import BadInput
from .report import Report, refuse_same_file
from .rows import Rows
from .template import Template

HELP = """Push to every device of an audience and write what became of each.

\b
  pushcore send --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app \\
      --audience devices.csv --payload payload.json --results results.csv

AUDIENCE is UTF-8, and read row by row however large it is. CSV has commas and a header row with a column "token".
NDJSON has an object with "token" on each line; a name that ends in .ndjson or .jsonl says so, without .csv the first
character does ("{"). "-" reads the standard input. The columns topic, push_type, priority, expiration, collapse_id
and apns_id take the place of the option in rows where they are not empty. Empty lines are no rows.

PAYLOAD is a JSON object. {{column}} in its texts is replaced by the row's value, whatever characters that has:

\b
  {"aps": {"alert": "Hi {{name}}", "badge": "{{badge:int}}"}, "order": "{{order}}"}

A text that is nothing but a placeholder becomes the value itself: of NDJSON with its type, of CSV a text, unless it
reads {{column:int}}, {{column:float}} or {{column:json}}. Within a longer text, null, objects and lists are refused.
A backslash before a placeholder (in JSON: two) keeps it as it stands. Keys cannot hold placeholders.

RESULTS is CSV with the columns row, token, platform, verdict, status, reason, id, timestamp, attempts, in order of
completion; "-" writes to the standard output. `row` counts the audience's rows from 1, `timestamp` is when APNs knew
that a token was dead. A row that cannot be parsed or sent is INVALID there, and the others are sent.

Ctrl-C stops reading, waits for answers and writes their results; a second one stops at once.

\b
Exit status:
  0  every row has a result
  1  some have none: it was interrupted, or something broke
  2  wrong usage or bad input; nothing was sent
  3  stopped, because key, topic, certificate or environment make every push fail
"""


@click.command(help=HELP, short_help="Push to every device of an audience.")
@apns_options
@click.option("--audience", required=True, metavar="FILE", help="The devices, CSV or NDJSON.")
@click.option("--payload", required=True, metavar="FILE", help="The payload, a JSON object.")
@click.option("--results", required=True, metavar="FILE", help="Where the results go.")
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
def send(audience: str, payload: str, results: str, quiet: bool, **options: Any) -> int:
    """Runs the command; the exit status."""
    apns = Apns(**options)
    client = apns.client()
    template = Template.from_file(payload)
    with Audience(audience) as source:
        if source.same_file(results):
            raise BadInput(f"{results} is the audience; expected another file for the results")
        refuse_same_file(results, payload, apns.apns_key, apns.apns_cert, apns.apns_cert_key, apns.ca_file)
        rows = Rows(source, template, apns.defaults, _nowhere, payload_name=payload)
        report = Report.to_file(results)
        rows.on_bad = report.bad_row
        return Campaign(client, source, rows, report, window=apns.window, quiet=quiet).run()


def _nowhere(row: int, token: str, reason: str) -> None:
    raise AssertionError("no row is read before there is a report")
