"""`pushcore campaign`: makes a campaign of an audience, puts it on a queue, collects the results and says how far it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import click

from ..engine.journal_campaign import Source
from ..errors import JournalError
from ..queue.campaign import CampaignInfo
from ..queue.chunk import CHUNK_ROWS, MAX_ROWS, inline_chunks
from ..queue.coordinator import CampaignStatus, Coordinator
from ..queue.errors import QueueError
from ..queue.ledger import Ledger
from ..queue.opening import open_queue
from .audience import Audience
from .notices import say
from .outcomes import CSV, FORMATS, write
from .output import open_bytes
from .problems import BadInput, printable
from .worker import ABSENT, BAD

T = TypeVar("T")

_queue = click.option(
    "--queue", required=True, envvar="PUSHCORE_QUEUE", metavar="URL", help="redis:// or nats://."
)
_ledger = click.option(
    "--ledger", required=True, envvar="PUSHCORE_LEDGER", metavar="FILE", help="The campaign's ledger."
)


@click.group(short_help="Campaigns for many workers, over a queue.")
def campaign() -> None:
    """Campaigns that any number of workers send, over Redis, Valkey or NATS JetStream.

    \b
      pushcore campaign create --queue redis://127.0.0.1:6379 --name autumn \\
          --ledger autumn.ledger --audience devices.csv --topic com.example.app
      pushcore worker --queue redis://127.0.0.1:6379 --campaign autumn ...
      pushcore campaign run --queue redis://127.0.0.1:6379 --ledger autumn.ledger
      pushcore campaign results --ledger autumn.ledger --results results.csv

    The ledger knows which rows exist and what became of each; the queue may lose anything, and `run` puts it back. A
    `create` or `run` that was killed is simply run again. Keep `run` running: it collects the results.
    """


@campaign.command()
@_queue
@_ledger
@click.option(
    "--name", required=True, metavar="NAME", help="Letters, digits, hyphens, underscores; 64 at most."
)
@click.option("--audience", required=True, metavar="FILE", help="The devices: CSV, NDJSON or Parquet.")
@click.option(
    "--chunk",
    type=click.IntRange(1, MAX_ROWS),
    default=CHUNK_ROWS,
    show_default=True,
    metavar="N",
    help="Rows that a worker takes at a time.",
)
@click.option("--topic", metavar="BUNDLE", help="Workers must have this --topic.")
@click.option("--team-id", metavar="ID", help="Workers must have this --team-id.")
@click.option("--fcm-project", metavar="ID", help="Workers must have this --fcm-project.")
def create(queue: str, ledger: str, name: str, audience: str, chunk: int, **needed: str | None) -> int:
    """Make a campaign of an audience, and put it on the queue."""
    if audience == "-":
        raise BadInput("--audience is the standard input, which cannot be read again; expected a file")
    with Audience(audience) as source:
        info = CampaignInfo(name, _fingerprint(audience, chunk), chunk, _needs(**needed))
        with _opened(lambda: Ledger.create(ledger, info)) as book:
            chunks = inline_chunks(_rows(source, chunk), chunk, start=book.known)
            count = _with_queue(queue, book, lambda each: each.publish(chunks))
            say(f"{book.status().rows} rows in {count} chunks are on the queue")
    return 0


@campaign.command()
@_queue
@_ledger
def run(queue: str, ledger: str) -> int:
    """Collect results until every row has one; put back what the queue has lost."""
    with _opened(lambda: Ledger.open(ledger)) as book:
        status = _with_queue(queue, book, lambda each: each.run())
        for number, reason in book.aside():
            say(f"chunk {number} was set aside: {printable(reason)}")
    say(f"{status.done} of {status.rows} rows have a result")
    return 0 if status.done == status.rows else 1


@campaign.command()
@_queue
@_ledger
def status(queue: str, ledger: str) -> int:
    """Say how far it is."""
    with _opened(lambda: Ledger.open(ledger)) as book:
        for line in _lines(_with_queue(queue, book, lambda each: each.status())):
            click.echo(line)
    return 0


@campaign.command()
@_ledger
@click.option("--results", required=True, metavar="FILE", help='Where they go; "-" is the standard output.')
@click.option("--format", "form", type=click.Choice(FORMATS), default=CSV, show_default=True)
def results(ledger: str, results: str, form: str) -> int:
    """Write what became of each row, as far as it was collected."""
    with _opened(lambda: Ledger.open(ledger)) as book:
        if results != "-" and os.path.exists(results) and os.path.samefile(results, ledger):
            raise BadInput(f"{printable(results)} is the ledger; expected another file for the results")
        file, _ = open_bytes(results, "the results")
        with file:
            write(book.outcomes(), file, form)
    return 0


def _order(name: str, words: str, give: Callable[[Coordinator], Awaitable[None]]) -> None:
    @campaign.command(name, help=words)
    @_queue
    @_ledger
    def order(queue: str, ledger: str) -> int:
        with _opened(lambda: Ledger.open(ledger)) as book:
            _with_queue(queue, book, give)
        return 0


_order("pause", "Workers finish what they have, and wait.", lambda each: each.pause())
_order(
    "resume",
    "Go on after a pause, a cancellation, or a stop whose cause was mended.",
    lambda each: each.resume(),
)
_order("cancel", "Workers finish what they have, and end.", lambda each: each.cancel())


def _lines(found: CampaignStatus) -> Iterator[str]:
    ledger, queue = found.ledger, found.queue
    yield f"campaign   {found.name}, {ledger.state.value}"
    yield f"rows       {ledger.done} of {ledger.rows}{'' if ledger.complete else ' so far'} have a result"
    yield f"chunks     {queue.depth} wait, {queue.leased} are with workers, {ledger.finished} finished, {ledger.aside} set aside"
    yield f"results    {queue.results} wait to be collected"
    yield f"oldest     {queue.oldest:.0f} s"
    yield f"rate       {found.rate:.0f}/s"
    yield f"left       {'unknown' if found.left is None else f'{found.left:.0f} s'}"
    yield f"repeats    {ledger.repeats}"
    for (platform, verdict, reason), count in sorted(ledger.tally.items()):
        yield f"{platform or 'neither':10} {verdict} {printable(reason)} {count}".rstrip()
    if found.trip is not None:
        yield f"stopped    {printable(found.trip.sentence)}"


def _opened(open_one: Callable[[], Ledger]) -> Ledger:
    try:
        return open_one()
    except (QueueError, JournalError) as error:
        raise BadInput(str(error)) from None


def _with_queue(url: str, ledger: Ledger, do: Callable[[Coordinator], Awaitable[T]]) -> T:
    async def run() -> T:
        queue = await open_queue(url, ledger.info.name)
        try:
            return await do(Coordinator(queue, ledger))
        finally:
            await queue.close()

    try:
        return asyncio.run(run())
    except (QueueError, JournalError) as error:
        raise BadInput(str(error)) from None


def _fingerprint(path: str, chunk: int) -> str:
    found = Source.of_file(path)
    return f"{found.size}-{found.digest}-{chunk}"


def _needs(topic: str | None, team_id: str | None, fcm_project: str | None) -> dict[str, Any]:
    apns = {key: value for key, value in (("topic", topic), ("team", team_id)) if value is not None}
    found: dict[str, Any] = {"apns": apns} if apns else {}
    if fcm_project is not None:
        found["fcm"] = {"project": fcm_project}
    return found


def _rows(source: Audience, chunk: int) -> Iterator[dict[str, Any]]:
    """Every row by its number, those that cannot be read as well: chunks have no gaps."""
    bad: list[dict[str, Any]] = []
    columns = source.columns

    def on_bad(number: int, token: str, reason: str) -> None:
        bad.append({"token": token, BAD: reason})

    batch: list[dict[str, Any]] = []
    for _, values in source.records(on_bad):
        batch += bad
        bad.clear()
        batch.append(dict(values) if columns is None else dict(zip(columns, values, strict=True)))
        if len(batch) >= chunk:
            yield from _even(batch)
            batch = []
    yield from _even([*batch, *bad])


def _even(batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows that lack a column say so, for a chunk has all columns for all rows."""
    names = {name for row in batch for name in row} - {BAD}
    for row in batch:
        absent = sorted(names - row.keys())
        if absent:
            row[ABSENT] = absent
    return batch
