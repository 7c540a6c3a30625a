"""The progress of a campaign on a queue, as lines and as JSON values, and a line for each of its workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...audience.problems import printable
from ...queue.coordinator import CampaignStatus
from ...queue.heartbeats import GONE, WorkerHeartbeat


def status_lines(status: CampaignStatus) -> Iterator[str]:
    """The status for people, one figure a line; then a line for each kind of outcome."""
    ledger, queue = status.ledger, status.queue
    yield f"campaign   {status.name}, {ledger.state.value}"
    yield f"rows       {ledger.done} of {ledger.rows}{'' if ledger.complete else ' so far'} have a result"
    yield f"chunks     {queue.depth} wait, {queue.leased} are with workers, {ledger.finished} finished, {ledger.aside} set aside"
    yield f"results    {queue.results} wait to be collected"
    yield f"oldest     {queue.oldest:.0f} s"
    yield f"rate       {status.rate:.0f}/s"
    yield f"left       {'unknown' if status.left is None else f'{status.left:.0f} s'}"
    yield f"repeats    {ledger.repeats}"
    for (platform, verdict, reason), count in sorted(ledger.tally.items()):
        yield f"{platform or 'neither':10} {verdict} {printable(reason)} {count}".rstrip()
    if status.trip is not None:
        yield f"stopped    {printable(status.trip.sentence)}"


def status_values(status: CampaignStatus) -> dict[str, Any]:
    """The status as JSON values."""
    ledger, queue = status.ledger, status.queue
    return {
        "campaign": status.name,
        "state": ledger.state.value,
        "complete": ledger.complete,
        "rows": ledger.rows,
        "done": ledger.done,
        "chunks": {
            "waiting": queue.depth,
            "leased": queue.leased,
            "finished": ledger.finished,
            "aside": ledger.aside,
        },
        "results": queue.results,
        "oldest": round(queue.oldest, 3),
        "rate": round(status.rate, 1),
        "left": None if status.left is None else round(status.left, 1),
        "repeats": ledger.repeats,
        "strays": ledger.strays,
        "reasons": [
            {
                "platform": platform or None,
                "verdict": verdict,
                "reason": printable(reason) or None,
                "rows": count,
            }
            for (platform, verdict, reason), count in sorted(ledger.tally.items())
        ],
        "stopped": None if status.trip is None else printable(status.trip.sentence),
    }


def worker_lines(heartbeats: Sequence[WorkerHeartbeat], now: float) -> Iterator[str]:
    """A line for each worker, live workers first."""
    for heartbeat in sorted(heartbeats, key=lambda heartbeat: not heartbeat.alive(now)):
        ago = max(now - heartbeat.at, 0.0)
        state = heartbeat.state if heartbeat.alive(now) else GONE
        yield (
            f"worker     {printable(heartbeat.name)}: {printable(state)}, {heartbeat.rows} rows finished, {heartbeat.held} chunks, "
            f"{heartbeat.busy} in flight, last heartbeat {ago:.0f} s ago"
        )
