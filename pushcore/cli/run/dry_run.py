"""`pushcore send --dry-run`: everything except sending."""

from __future__ import annotations

import contextlib
import time
from collections import Counter

import click

from ...engine.rules import dispatcher_of
from ...payloads.apns_rows import ApnsRow
from ...payloads.devices import APNS, FCM, NAMES
from ...payloads.duplicates import duplicate_lines
from ...payloads.formats import CREDENTIALS
from ...payloads.rows import Row, Rows, invisible_lines
from ...requests import build_one
from ...results import Result
from ..report.results_file import ResultsFile
from ..report.tally import how_many
from ..statuses import BAD_INPUT, OK
from .client_options import CampaignClient

_KINDS = {"apns": "device tokens", "fcm": "registration tokens", "fid": "Firebase installation ids"}


def dry_run(clients: dict[str, CampaignClient], rows: Rows, report: ResultsFile) -> int:
    """Make the request of every row as for sending, without sending it; the exit status.

    Rows that cannot become a request are in the report. The summary is written to the standard output.
    """
    kinds: Counter[str] = Counter()
    size, largest = dict.fromkeys(clients, 0), dict.fromkeys(clients, 0)
    started = time.monotonic()
    with contextlib.closing(report):
        for push in rows:
            platform = APNS if type(push) is ApnsRow else FCM
            exchange = build_one(dispatcher_of(clients[platform]).requests, push, _ignore, 0.0)
            if isinstance(exchange, Result):
                report.take(exchange)
                continue
            kinds[_kind_of(push)] += 1
            length = len(exchange.body)
            size[platform] += length
            largest[platform] = max(largest[platform], length)
    click.echo(
        f"{how_many(kinds.total() + report.counts.total, time.monotonic() - started)}; nothing was sent"
    )
    for kind, count in sorted(kinds.items()):
        platform = APNS if kind == APNS else FCM
        click.echo(f"  {NAMES[platform]:<13} {count:>12,}  {_KINDS[kind]}")
    for platform, total in size.items():
        if total:
            click.echo(
                f"  {NAMES[platform]:<13} {total:>12,}  bytes of payload, the largest has {largest[platform]:,}"
            )
    for platform, tally in report.counts.tallies.items():
        for line in tally.lines():
            whose = f" ({NAMES[platform]})" if platform and len(clients) > 1 else ""
            click.echo(f"{line}{whose}")
    duplicates = rows.duplicates or rows.sample
    if duplicates is not None:
        for line in duplicate_lines(duplicates, left_out=rows.duplicates is not None):
            click.echo(line)
    for line in invisible_lines(*rows.makers):
        click.echo(line)
    if rows.taken and rows.unserved == rows.taken:
        (missing,) = {APNS, FCM} - clients.keys()
        click.echo(
            f"pushcore: no row could be sent: all are of {NAMES[missing]}, which needs {CREDENTIALS[missing]}",
            err=True,
        )
        return BAD_INPUT
    return OK


def _kind_of(push: Row) -> str:
    if isinstance(push, ApnsRow):
        return "apns"
    return "fid" if push.fid else "fcm"


def _ignore(exchange: object) -> None:
    raise AssertionError("a dry run finishes no push")
