"""`pushcore campaign`: makes a campaign from an audience, puts it on a queue, collects results, and shows the progress."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import click
import orjson

from ...audience.audience import Audience
from ...audience.problems import BadInput, printable
from ...audience.storage import StoredFile
from ...errors import JournalError
from ...payloads.duplicates import DUPLICATE, Duplicates, duplicate_lines
from ...queue.campaign import CampaignInfo, CampaignState
from ...queue.chunk import CHUNK_ROWS, MAX_ROWS, inline_chunks
from ...queue.chunk_rows import ABSENT, BAD
from ...queue.coordinator import Coordinator
from ...queue.errors import QueueError
from ...queue.ledger import Ledger
from ...queue.opening import open_queue
from ...queue.references import described, reference_chunks
from ..options import results_raw_option
from ..profiles import settings_options
from ..queue_access import QUEUE_HELP, QueueTarget, access_of, queue_access_options
from ..report.campaign_metrics import serving_gauges
from ..report.campaign_status import status_lines, status_values, worker_lines
from ..report.notices import say
from ..report.outcomes import CSV, FORMATS, batched, write
from ..report.output import open_bytes
from ..run.job import duplicates_of
from ..sections import Seconds, command, section
from ..statuses import INCOMPLETE, exit_statuses

T = TypeVar("T")

_option = section("Campaign")
_url = _option("--queue", required=True, metavar="URL", help=QUEUE_HELP)


def _queue(function: Callable[..., int]) -> Callable[..., int]:
    """Add --queue and the options for its credentials; the command gets them as one `queue`."""

    @functools.wraps(function)
    def with_target(*, queue: str, **options: Any) -> int:
        access = access_of(options, queue)
        return function(queue=QueueTarget(queue, access), **options)

    decorated: Callable[..., int] = _url(queue_access_options(with_target))
    return decorated


_ledger = _option("--ledger", required=True, metavar="FILE", help="The campaign's ledger.")


@click.group(short_help="Campaigns for many workers, over a queue.")
def campaign() -> None:
    """Campaigns that any number of workers send, over Redis, Valkey or NATS JetStream.

    \b
      pushcore campaign create --queue redis://127.0.0.1:6379 --name autumn \\
          --ledger autumn.ledger --audience devices.csv --topic com.example.app
      pushcore worker --queue redis://127.0.0.1:6379 --campaign autumn ...
      pushcore campaign run --queue redis://127.0.0.1:6379 --ledger autumn.ledger
      pushcore campaign results --ledger autumn.ledger --results results.csv

    The ledger has every row and its outcome. Keep `run` running: it collects the results, and puts back what the queue has lost.
    After a kill, start `create` or `run` again.

    Every option can also be an environment variable (PUSHCORE_QUEUE for --queue) or a key in the file of --config.
    docs/guides/queue.md is the guide.
    """


def _command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command of the group, with sections and variables like the other commands."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        own = name or function.__name__
        text = settings.pop("help", None) or inspect.cleandoc(function.__doc__ or "")
        made = command(name=own, help=f"{text}\n\n\f\n{exit_statuses(f'campaign {own}')}", **settings)(
            function
        )
        campaign.add_command(made)
        return made

    return decorate


@_command()
@_queue
@_ledger
@_option("--name", required=True, metavar="NAME", help="Letters, digits, hyphens, underscores; 64 at most.")
@_option(
    "--audience",
    required=True,
    metavar="FILE",
    help="The devices: CSV, NDJSON or Parquet; a path, or a URL such as s3://bucket/devices.parquet (needs the extra "
    "pushcore[storage] and its driver).",
)
@_option(
    "--by-reference",
    is_flag=True,
    help="Put only references to rows on the queue. Workers read the audience at the same path or URL; it must not "
    "change until the end.",
)
@_option(
    "--chunk",
    type=click.IntRange(1, MAX_ROWS),
    default=CHUNK_ROWS,
    show_default=True,
    metavar="N",
    help="Rows per chunk, which a worker leases at a time.",
)
@_option(
    "--unique",
    is_flag=True,
    help="Send to each device once: later rows with the same device are INVALID. The audience is read twice; "
    "not with --by-reference.",
)
@_option("--topic", metavar="BUNDLE", help="Workers must have this --topic.")
@_option("--team-id", metavar="ID", help="Workers must have this --team-id.")
@_option(
    "--environment",
    type=click.Choice(["production", "sandbox", "auto"]),
    metavar="NAME",
    help="Workers must send to this environment of APNs: production, sandbox or auto.",
)
@_option("--fcm-project", metavar="ID", help="Workers must send to this project of FCM.")
@settings_options
def create(
    queue: QueueTarget,
    ledger: str,
    name: str,
    audience: str,
    by_reference: bool,
    chunk: int,
    unique: bool,
    **needed: str | None,
) -> int:
    """Make a campaign from an audience, and put it on the queue.

    \b
      pushcore campaign create --queue redis://127.0.0.1:6379 --name autumn \\
          --ledger autumn.ledger --audience devices.csv --topic com.example.app

    If it is interrupted, run it again.
    """
    if unique and by_reference:
        raise BadInput(
            "--unique and --by-reference exclude each other: a reference includes every row of its range"
        )
    if audience == "-":
        raise BadInput("--audience is the standard input, which cannot be read again; expected a file")
    with Audience(audience) as source:
        if source.size is None:
            raise BadInput(
                f"{source.name} is a pipe or a device, which cannot be read again; expected a file"
            )
        info = CampaignInfo(
            name,
            f"{StoredFile(audience).fingerprint()}-{chunk}{'-ref' * by_reference}{'-unique' * unique}",
            chunk,
            _needs(**needed),
            {"audience": described(source)} if by_reference else {},
        )
        for notice in source.notices:
            say(notice)
        platforms = list(info.needs)
        duplicates = duplicates_of(source, audience, platforms) if unique else None
        with _opened(lambda: Ledger.create(ledger, info)) as book:
            if by_reference:
                chunks = reference_chunks(source, audience, chunk, start=book.known)
            else:
                chunks = inline_chunks(_rows(source, chunk, duplicates), chunk, start=book.known)
            count = _with_queue(queue, book, lambda coordinator: coordinator.publish(chunks))
            say(f"{book.status().rows} rows in {count} chunks are on the queue")
            for line in () if duplicates is None else duplicate_lines(duplicates, left_out=True):
                say(line)
    return 0


@_command(short_help="Collect the results until every row has one.")
@_queue
@_ledger
@_option(
    "--metrics-port",
    type=click.IntRange(0, 65_535),
    metavar="N",
    help="Serve Prometheus at http://127.0.0.1:N/metrics during the run: depth, age of the oldest, rows done and so on; 0 "
    "is any free port. Needs the extra pushcore[prometheus].",
)
@settings_options
def run(queue: QueueTarget, ledger: str, metrics_port: int | None) -> int:
    """Collect results until every row has one, and put back chunks that the queue has lost.

    \b
      pushcore campaign run --queue redis://127.0.0.1:6379 --ledger autumn.ledger

    If it is interrupted, run it again: meanwhile the results wait in the queue.
    """
    with _opened(lambda: Ledger.open(ledger)) as book:
        if metrics_port is None:
            status = _with_queue(queue, book, lambda coordinator: coordinator.run())
        else:
            with serving_gauges(metrics_port) as watch:
                status = _with_queue(queue, book, watch.run)
        book.verify()
        for number, reason in book.aside():
            say(f"chunk {number} was set aside: {printable(reason)}")
    say(f"{status.done} of {status.rows} rows have a result")
    return 0 if status.done == status.rows else 1


@_command()
@_queue
@_ledger
@_option("--json", is_flag=True, help="One JSON object instead of lines.")
@settings_options
def status(queue: QueueTarget, ledger: str, json: bool) -> int:
    """Show the progress.

    \b
      pushcore campaign status --queue redis://127.0.0.1:6379 \\
          --ledger autumn.ledger

    --json writes one object: campaign, state, complete (whether all rows are known), rows, done, chunks (waiting, leased,
    finished, aside), results (not collected yet), oldest and left (seconds), rate (per second), repeats, strays, reasons
    (platform, verdict, reason and rows of each kind), and stopped (the reason, or null).
    """
    with _opened(lambda: Ledger.open(ledger, read_only=True)) as book:
        if json:
            values = status_values(_with_queue(queue, book, lambda coordinator: coordinator.status()))
            click.echo(orjson.dumps(values, option=orjson.OPT_INDENT_2).decode())
            return 0
        for line in status_lines(_with_queue(queue, book, lambda coordinator: coordinator.status())):
            click.echo(line)
    return 0


@_command()
@_ledger
@_option("--results", required=True, metavar="FILE", help='File for the results; "-" is the standard output.')
@_option(
    "--format", "form", type=click.Choice(FORMATS), default=CSV, show_default=True, help="Of the results."
)
@results_raw_option
@settings_options
def results(ledger: str, results: str, form: str, results_raw: bool) -> int:
    """Write the collected results, one row per row of the audience.

    \b
      pushcore campaign results --ledger autumn.ledger --results results.csv

    It can be used during the run: rows without a result are left out.
    """
    with _opened(lambda: Ledger.open(ledger, read_only=True)) as book:
        if results != "-" and os.path.exists(results) and os.path.samefile(results, ledger):
            raise BadInput(f"{printable(results)} is the ledger; expected another file for the results")
        file, _ = open_bytes(results, "the results")
        with file:
            write(batched(book.outcomes()), file, form, raw=results_raw)
    return 0


_RESUME: Final = "Continue after a pause, a cancellation, or a stop by the breaker."
_ON_QUEUE: Final = """

\b
  pushcore campaign {} --queue redis://127.0.0.1:6379 \\
      --ledger autumn.ledger

It prints which workers obey; the exit status is 1 if one does not within five seconds."""


def _order(name: str, words: str, give: Callable[[Coordinator], Awaitable[None]]) -> None:
    @_command(name, help=words + _ON_QUEUE.format(name), short_help=words)
    @_queue
    @_ledger
    @settings_options
    def order(queue: QueueTarget, ledger: str) -> int:
        with _opened(lambda: Ledger.open(ledger)) as book:
            return _with_queue(queue, book, lambda coordinator: _give(coordinator, give))


async def _give(coordinator: Coordinator, give: Callable[[Coordinator], Awaitable[None]]) -> int:
    """Change the state, and print which workers obey it."""
    await give(coordinator)
    good, others = await coordinator.obeyed()
    state = coordinator.ledger.state.value
    say(f"{coordinator.ledger.info.name} is {state}; {len(good)} of {len(good) + len(others)} workers obey")
    for heartbeat in others:
        say(
            f"{printable(heartbeat.name)} is {printable(heartbeat.state)}, {heartbeat.busy} requests in flight"
        )
    return 1 if others else 0


_order(
    "pause",
    "Make all workers stop sending and wait.",
    lambda coordinator: coordinator.pause(),
)


@_command(help=_RESUME + _ON_QUEUE.format("resume"), short_help="Continue a stopped campaign.")
@_queue
@_ledger
@_option("--aside", is_flag=True, help="Also try chunks again that were set aside.")
@settings_options
def resume(queue: QueueTarget, ledger: str, aside: bool) -> int:
    """Runs the command; the exit status."""

    async def go_on(coordinator: Coordinator) -> None:
        await coordinator.resume()
        if aside:
            coordinator.ledger.take_back(number for number, _ in coordinator.ledger.aside())
            await coordinator.reconcile()

    with _opened(lambda: Ledger.open(ledger)) as book:
        return _with_queue(queue, book, lambda coordinator: _give(coordinator, go_on))


_order(
    "cancel",
    "Make all workers give back unsent rows and end.",
    lambda coordinator: coordinator.cancel(),
)


@_command(short_help="Show the progress and each worker until the end.")
@_queue
@_ledger
@_option(
    "--every",
    type=Seconds(min=0.1),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds between two updates.",
)
@_option("--once", is_flag=True, help="Show it once, and end.")
@settings_options
def watch(queue: QueueTarget, ledger: str, every: float, once: bool) -> int:
    """Show the progress and the state of each worker, until the campaign ends.

    \b
      pushcore campaign watch --queue redis://127.0.0.1:6379 \\
          --ledger autumn.ledger

    On a terminal the screen is updated; otherwise each update is a block of lines.
    """
    redraw = sys.stdout.isatty()

    async def look(coordinator: Coordinator) -> int:
        while True:
            status, heartbeats = await coordinator.status(), await coordinator.workers()
            lines = [*status_lines(status), *worker_lines(heartbeats, time.time())]
            if status.left:
                lines.insert(
                    7, f"end        about {datetime.now() + timedelta(seconds=status.left):%H:%M:%S}"
                )
            click.echo(
                ("\x1b[H\x1b[2J" if redraw else "") + "\n".join(lines) + ("" if redraw or once else "\n")
            )
            over = status.ledger.over or status.ledger.state in (
                CampaignState.CANCELLED,
                CampaignState.FINISHED,
            )
            if once or (
                over and not any(heartbeat.held for heartbeat in heartbeats if heartbeat.alive(time.time()))
            ):
                return 0
            await asyncio.sleep(every)

    with _opened(lambda: Ledger.open(ledger, read_only=True)) as book:
        return _with_queue(queue, book, look)


@contextlib.contextmanager
def _opened(open_one: Callable[[], Ledger]) -> Iterator[Ledger]:
    """The open ledger. If it fails later, the command ends with status 1."""
    try:
        book = open_one()
    except (QueueError, JournalError) as error:
        raise BadInput(str(error)) from None
    try:
        with book:
            yield book
    except JournalError as error:
        say(printable(str(error)))
        click.get_current_context().exit(INCOMPLETE)


def _with_queue(target: QueueTarget, ledger: Ledger, do: Callable[[Coordinator], Awaitable[T]]) -> T:
    async def run() -> T:
        queue = await open_queue(target.url, ledger.info.name, access=target.access)
        try:
            return await do(Coordinator(queue, ledger))
        finally:
            await queue.close()

    try:
        return asyncio.run(run())
    except QueueError as error:
        raise BadInput(str(error)) from None


def _needs(
    topic: str | None, team_id: str | None, environment: str | None, fcm_project: str | None
) -> dict[str, Any]:
    apns = {"topic": topic, "team": team_id, "environment": environment}
    wanted = {"apns": apns, "fcm": {"project": fcm_project}}
    given = {
        provider: {key: value for key, value in settings.items() if value is not None}
        for provider, settings in wanted.items()
    }
    return {provider: settings for provider, settings in given.items() if settings}


def _rows(source: Audience, chunk: int, duplicates: Duplicates | None = None) -> Iterator[dict[str, Any]]:
    """All rows in order, also those that cannot be read, and duplicates: chunks have no gaps."""
    batch: list[dict[str, Any]] = []  # the rows of one chunk
    columns = source.columns

    def on_bad(number: int, token: str, reason: str) -> None:
        batch.append({"token": token, BAD: reason})

    for number, values in source.records(on_bad):
        row = dict(values) if columns is None else dict(zip(columns, values, strict=True))
        if duplicates is not None and number in duplicates:
            row = {"token": row.get("token"), BAD: DUPLICATE}
        batch.append(row)
        if len(batch) >= chunk:
            whole = len(batch) - len(batch) % chunk
            yield from _even(batch[:whole], chunk)
            del batch[:whole]
    yield from _even(batch, chunk)


def _even(rows: list[dict[str, Any]], chunk: int) -> Iterator[dict[str, Any]]:
    """Mark columns that a row does not have: a chunk stores all columns for all its rows."""
    for at in range(0, len(rows), chunk):
        batch = rows[at : at + chunk]
        names = {name for row in batch for name in row} - {BAD}
        for row in batch:
            absent = sorted(names - row.keys())
            if absent:
                row[ABSENT] = absent
        yield from batch
