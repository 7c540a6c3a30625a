"""Heartbeats: the last status of each worker, in the queue's store, for `campaign watch`, `pause` and `cancel`.

workers      a JSON list: the names of all workers of the campaign, the newest `MOST`
worker-N     the last heartbeat of the N-th
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from .protocol import Store, overwrite

WORKERS: Final = "workers"
WORKER: Final = "worker-"
MOST: Final = 1000
"""Workers in the list, at most; a further one replaces the first."""
GONE: Final = "gone"
"""The state of a worker that has ended."""
ALIVE: Final = 10.0
"""Seconds since the last heartbeat after which a worker counts as dead."""


@dataclass(frozen=True, slots=True)
class WorkerHeartbeat:
    """A worker's last heartbeat.

    Attributes:
        name: of the worker.
        place: its number in the list of workers.
        state: a value of `CampaignState`, "draining", or "gone" after the worker has ended.
        at: UNIX seconds of its clock.
        rows: finished rows.
        held: leased chunks.
        busy: requests in flight.
    """

    name: str
    place: int
    state: str
    at: float
    rows: int
    held: int
    busy: int

    async def write(self, store: Store) -> None:
        """Write it to the store.

        Raises:
            QueueError: the store cannot be written.
        """
        await overwrite(store, f"{WORKER}{self.place}", orjson.dumps(asdict(self)))

    def alive(self, now: float) -> bool:
        """Whether the worker is not `GONE` and the heartbeat is recent at `now`, UNIX seconds."""
        return self.state != GONE and now - self.at < ALIVE


async def register(store: Store, name: str) -> WorkerHeartbeat:
    """Add a worker to the list; returns its first heartbeat. Raises `QueueError`."""
    while True:
        note = await store.read(WORKERS)
        names = _names(note.value)
        if name in names:
            place = names.index(name)
            break
        place = len(names) % MOST
        names[place : place + 1] = [name]
        if await store.write(WORKERS, orjson.dumps(names), note.revision):
            break
    return WorkerHeartbeat(name, place, "running", time.time(), 0, 0, 0)


async def read_heartbeats(store: Store) -> list[WorkerHeartbeat]:
    """The last heartbeat of each worker, in the order of registration. Raises `QueueError`."""
    heartbeats = []
    for place, _ in enumerate(_names((await store.read(WORKERS)).value)):
        heartbeat = _decode((await store.read(f"{WORKER}{place}")).value)
        if heartbeat is not None:
            heartbeats.append(heartbeat)
    return heartbeats


def _names(data: bytes) -> list[str]:
    try:
        names = orjson.loads(data) if data else []
    except orjson.JSONDecodeError:
        return []
    return [str(name)[:256] for name in names[:MOST]] if isinstance(names, list) else []


def _decode(data: bytes) -> WorkerHeartbeat | None:
    """Decode a heartbeat; None if it is invalid, for example from another version."""
    kinds: dict[str, Callable[..., object]] = {"name": str, "state": str, "at": float}
    try:
        members = orjson.loads(data)
        return WorkerHeartbeat(
            **{name: kinds.get(name, int)(members[name]) for name in WorkerHeartbeat.__slots__}  # type: ignore[arg-type]  # each by the kind of its name
        )
    except (ValueError, TypeError, LookupError):
        return None
