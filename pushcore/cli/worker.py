"""`pushcore worker`: sends for a campaign that `pushcore campaign create` has put on a queue, with as many others as you like."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any, Final, cast

import click

from ..engine.collector import relax_collector
from ..engine.engine import PushEngine
from ..engine.journal import id_prefix
from ..engine.journal_outcome import Device
from ..queue.campaign import CampaignInfo
from ..queue.chunk import Chunk
from ..queue.errors import CampaignConflict, QueueError
from ..queue.fleet import Fleet
from ..queue.opening import open_queue
from ..queue.protocol import campaign_name
from ..queue.worker import Worker, WorkerReport
from ..results import Result, Verdict
from .audience import Audience, OnBad
from .devices import APNS, FCM
from .notices import say
from .options import credential_options, push_options, sending_options
from .problems import INCOMPLETE, OK, STOPPED, BadInput, printable
from .rows import Rows
from .sections import add, command, section
from .sender import Client, Sender
from .sending import Sending
from .shards import WHOLE, Shard

BAD: Final = "_bad"
"""The column that says why a row could not be read, where there is one."""
ABSENT: Final = "_absent"
"""The column that names the columns that a row does not have, where others have them."""

HELP = """Send for a campaign on a queue, until it is finished.

\b
  pushcore worker --queue redis://127.0.0.1:6379 --campaign autumn \\
      --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app --payload payload.json

Start as many as you like, on any machines, with the same payload; stop and start them at any time. SIGTERM and Ctrl-C
drain: what was taken from the queue is sent and delivered to it, and what waits for another try is given back. A second
one stops at once; then, and after a SIGKILL, others send again what this one had taken and not delivered, with the same
apns-id. All workers together keep --rate and FCM's quota. `pushcore campaign` makes the campaign and collects the results.

\b
Exit status:
  0  finished, cancelled or drained
  1  the queue was lost, or something broke; nothing of the campaign is lost
  2  wrong usage, or this worker cannot send for the campaign; nothing was sent
  3  the campaign is stopped, because key, topic, certificate, environment, service
     account or project make every push to a provider fail
"""

_queue = section("Queue")
_OPTIONS = (
    _queue("--queue", required=True, metavar="URL", help="redis://HOST:PORT or nats://HOST:PORT."),
    _queue("--campaign", required=True, metavar="NAME", help="Its name, as at `pushcore campaign create`."),
    _queue(
        "--grace",
        type=click.FloatRange(min=0),
        default=20.0,
        show_default=True,
        metavar="S",
        help="Seconds for what was taken from the queue, once it is drained.",
    ),
    _queue("--quiet", is_flag=True, help="No summary."),
)


@command(help=HELP, short_help="Send for a campaign on a queue.")
@partial(add, options=_OPTIONS)
@push_options
@credential_options
@sending_options
def worker(queue: str, campaign: str, grace: float, quiet: bool, **options: Any) -> int:
    """Runs the command; the exit status."""
    campaign_name(campaign)
    sender, sending = Sender.of(options), Sending.of(options)
    if sending.metrics_port is not None:
        raise BadInput("--metrics-port is not for workers yet; expected none")
    clients = sender.clients()
    maker = ChunkRows(sender, clients, campaign)
    relax_collector()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            offers = offers_of(sender, clients)
            report = runner.run(_work(queue, campaign, clients, maker, sending, offers, grace))
        except CampaignConflict as error:
            raise BadInput(str(error)) from None
        except QueueError as error:
            say(f"{printable(str(error))}; others send again what was taken from the queue and not delivered")
            return INCOMPLETE
    if report.trip is not None:
        say(f"the campaign is stopped: {printable(report.trip.sentence)}")
    elif not quiet:
        say(f"{report.rows} rows of {report.chunks} chunks sent, {report.released} chunks given back")
    return STOPPED if report.trip is not None else OK


async def _work(
    url: str,
    campaign: str,
    clients: dict[str, Client],
    maker: ChunkRows,
    sending: Sending,
    offers: dict[str, Any],
    grace: float,
) -> WorkerReport:
    try:
        queue = await open_queue(url, campaign)
    except QueueError as error:
        raise BadInput(str(error)) from None
    try:
        fleet = Fleet(queue)
        engine = PushEngine(
            *clients.values(),
            retry=sending.policy(),
            window=sending.window,
            rate=sending.limit(),
            shared=fleet,
        )
        async with fleet, engine:
            each = Worker(queue, engine, fleet, maker, offers=offers)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, _drain, each, grace, number)
            return await each.run()
    finally:
        await queue.close()


def _drain(each: Worker, grace: float, number: int) -> None:
    say("draining; once more to stop at once")
    each.drain(grace)
    loop = asyncio.get_running_loop()
    loop.remove_signal_handler(number)  # so that the next one does what it does to anybody


def offers_of(sender: Sender, clients: Collection[str]) -> dict[str, Any]:
    """What a campaign's `needs` are compared with. No secret."""
    found: dict[str, Any] = {}
    if APNS in clients:
        found[APNS] = {"topic": sender.topic, "team": sender.team_id, "environment": sender.environment}
    if FCM in clients:
        found[FCM] = {"project": sender.fcm_project}
    return found


class ChunkRows:
    """Makes the pushes of a chunk as `pushcore send` makes those of an audience."""

    def __init__(self, sender: Sender, clients: Collection[str], campaign: str) -> None:
        self._apns, self._fcm = sender.makers(clients, id_prefix(campaign))

    def __call__(self, chunk: Chunk, info: CampaignInfo) -> list[Any]:
        """See `queue.pushes.Pushes`."""
        found: list[Any] = []

        def on_bad(row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
            found.append(Result(Device(row, token, platform), verdict, reason=reason))

        source = cast(Audience, _ChunkAudience(chunk))
        found.extend(Rows(source, self._apns, self._fcm, on_bad))
        return found


class _ChunkAudience:
    """A chunk's rows as an `Audience` of NDJSON has them."""

    columns = None
    name = "the campaign"

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk

    def select(self, wanted: Collection[str]) -> None:
        """All are there."""

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows that are to be sent, with their numbers."""
        columns = self._chunk.columns()
        first = self._chunk.first
        for row in self._chunk.missing():
            values = {name: each[row - first] for name, each in columns.items()}
            bad = values.pop(BAD, None)
            for name in values.pop(ABSENT, None) or ():
                values.pop(name, None)
            if bad is not None:
                on_bad(row, str(values.get("token") or ""), str(bad))
            else:
                yield row, values


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop
