"""`pushcore worker`: sends for a campaign that `pushcore campaign create` has put on a queue."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import click

from ...audience.problems import BadInput, printable
from ...engine.collector import relax_collector
from ...engine.engine import PushEngine
from ...fcm.client import FcmClient
from ...journal.journal import id_prefix
from ...metrics import Listener
from ...queue.access import Access
from ...queue.campaign import CampaignState
from ...queue.chunk_rows import ChunkRows
from ...queue.errors import CampaignConflict, QueueError
from ...queue.fleet import Fleet
from ...queue.leases import WorkerReport
from ...queue.opening import open_queue
from ...queue.protocol import campaign_name
from ...queue.worker import Worker
from ..options import credential_options, push_options, sending_options
from ..profiles import settings_options
from ..queue_access import QUEUE_HELP, access_of, queue_access_options
from ..report.notices import Notices, listening, say, showing_warnings
from ..run.campaign import HANGUP, OPEN_BEFORE, loop_factory, open_connections, warn
from ..run.client_options import CampaignClient, ClientOptions, Clients
from ..run.renewal import Renewal
from ..run.sending import SendingOptions
from ..sections import Seconds, add, command, parse_again, section
from ..statuses import INCOMPLETE, OK, STOPPED, exit_statuses

HELP = """Send for a campaign on a queue, until it is finished.

\b
  pushcore worker --queue redis://127.0.0.1:6379 --campaign autumn \\
      --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app --payload payload.json

Start any number of workers, on any machines, with the same payload. SIGTERM and Ctrl-C drain: leased rows are sent and their
results delivered. A second signal stops at once; other workers then send the rows again whose results were not delivered.
SIGHUP reads --config and all credentials again. docs/guides/queue.md is the guide.

\f
""" + exit_statuses("worker")

_queue = section("Queue")
_OPTIONS = (
    _queue("--queue", required=True, metavar="URL", help=QUEUE_HELP),
    _queue(
        "--campaign",
        required=True,
        metavar="NAME",
        help="Name of the campaign, as in `pushcore campaign create`.",
    ),
    _queue(
        "--grace",
        rare=True,
        type=Seconds(min=0),
        default=20.0,
        show_default=True,
        metavar="S",
        help="Seconds to finish the leased rows after SIGTERM.",
    ),
    _queue("--quiet", rare=True, is_flag=True, help="No summary."),
)


@command(help=HELP, short_help="Send for a campaign on a queue.")
@partial(add, options=_OPTIONS)
@queue_access_options
@push_options
@credential_options
@sending_options
@settings_options
def worker(queue: str, campaign: str, grace: float, quiet: bool, **options: Any) -> int:
    """Runs the command; the exit status."""
    campaign_name(campaign)
    access = access_of(options, queue)
    sender, sending = ClientOptions.of(options), SendingOptions.of(options)
    clients = sender.clients()
    template = sender.template(clients, id_prefix(campaign))
    maker = ChunkRows(template)
    offers = offers_of(sender, clients)
    renewal, context = Renewal(sender, clients), click.get_current_context()

    def reload() -> None:
        try:
            for sentence in renewal.renew(ClientOptions.of(parse_again(context))):
                say(sentence)
        except (click.UsageError, BadInput) as error:
            text = error.format_message() if isinstance(error, click.UsageError) else str(error)
            say(f"the options cannot be read again, so the credentials do not change: {printable(text)}")

    if not quiet:
        for notice in template.notices:
            say(notice)
    warn(sending, clients, quiet=quiet)
    relax_collector()
    with (
        contextlib.closing(maker),
        showing_warnings(),
        listening(Notices(quiet=quiet), sending.metrics_port, quiet=quiet) as listener,
        asyncio.Runner(loop_factory=loop_factory()) as runner,
    ):
        try:
            report = runner.run(
                _work(queue, access, campaign, clients, maker, sending, listener, offers, grace, reload)
            )
        except CampaignConflict as error:
            raise BadInput(str(error)) from None
        except QueueError as error:
            say(f"{printable(str(error))}; other workers repeat the leased rows without a delivered result")
            return INCOMPLETE
    if report.trip is not None:
        say(f"the campaign is stopped: {printable(report.trip.sentence)}")
    elif not quiet:
        say(f"{report.rows} rows of {report.chunks} chunks sent, {report.released} chunks given back")
    return STOPPED if report.trip is not None else OK


async def _work(
    url: str,
    access: Access,
    campaign: str,
    clients: Clients,
    maker: ChunkRows,
    sending: SendingOptions,
    listener: Listener,
    offers: dict[str, Any],
    grace: float,
    reload: Callable[[], None],
) -> WorkerReport:
    try:
        queue = await open_queue(url, campaign, access=access)
    except QueueError as error:
        raise BadInput(str(error)) from None
    try:
        fleet = Fleet(queue)
        engine = PushEngine(
            *clients.all,
            retry=sending.policy(),
            window=sending.window,
            rate=sending.limit(),
            listener=listener,
            shared=fleet,
            start_at=sending.start_at,
        )
        async with fleet, engine, _opening(clients, sending.start_at):
            worker = Worker(queue, engine, fleet, maker, offers=offers, on_state=_said_state())
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, _drain, worker, grace, number)
            if HANGUP is not None:
                with contextlib.suppress(NotImplementedError):
                    loop.add_signal_handler(HANGUP, reload)
            return await worker.run()
    finally:
        await queue.close()


@contextlib.asynccontextmanager
async def _opening(clients: Clients, start: datetime | None) -> AsyncIterator[None]:
    """Open all connections shortly before the start."""

    async def open_them(start: datetime) -> None:
        await asyncio.sleep(start.timestamp() - OPEN_BEFORE - time.time())
        await open_connections(clients)

    opening = None if start is None else asyncio.create_task(open_them(start))
    try:
        yield
    finally:
        if opening is not None:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


def _said_state() -> Callable[[CampaignState], None]:
    """A function that prints the state of the campaign when it changes; "running" only after a pause."""
    before = CampaignState.RUNNING

    def say_state(state: CampaignState) -> None:
        nonlocal before
        if state is not before and state in _STATES:
            say(_STATES[state])
        before = state

    return say_state


_STATES: Final = {
    CampaignState.RUNNING: "the campaign continues",
    CampaignState.PAUSED: "the campaign is paused; waiting",
    CampaignState.CANCELLED: "the campaign is cancelled; unsent rows are given back",
}


def _drain(worker: Worker, grace: float, number: int) -> None:
    worker.drain(grace)
    asyncio.get_running_loop().remove_signal_handler(number)  # so that the next signal has its default effect
    say("draining; send the signal again to stop at once")


def offers_of(sender: ClientOptions, clients: Mapping[str, CampaignClient]) -> dict[str, Any]:
    """The credentials of this worker, without secrets, to compare with the `needs` of a campaign."""
    offers: dict[str, Any] = {}
    for platform, client in clients.items():
        if isinstance(client, FcmClient):
            offers[platform] = {"project": client.project_id}
        else:
            offers[platform] = {
                "topic": sender.topic,
                "team": sender.team_id,
                "environment": sender.environment if sender.environment == "auto" else client.environment,
            }
    return offers
