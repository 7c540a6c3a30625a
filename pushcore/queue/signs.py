"""What each worker says of itself in the queue's store, for those who watch or steer the campaign.

workers      a JSON list: the names of all that ever worked for it, the newest `MOST`
worker-N     the last sign of the N-th
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
"""Workers that are kept; then the places begin anew."""
GONE: Final = "gone"
"""The state of a worker that has ended."""
ALIVE: Final = 10.0
"""Seconds since the last sign after which a worker is taken for dead."""


@dataclass(frozen=True, slots=True)
class WorkerSign:
    """A worker's last sign. `place`: its number in the list. `state`: what it does, as `CampaignState` has it, "draining" or `GONE`.
    `at`: UNIX seconds by its clock. `rows`: those that it finished. `held`: chunks that it has. `busy`: requests in flight."""

    name: str
    place: int
    state: str
    at: float
    rows: int
    held: int
    busy: int

    async def write(self, store: Store) -> None:
        """Leave it in the store. Raises `QueueError`."""
        await overwrite(store, f"{WORKER}{self.place}", orjson.dumps(asdict(self)))

    def alive(self, now: float) -> bool:
        """Whether the worker has not said that it ends, and the sign is young at `now`, UNIX seconds."""
        return self.state != GONE and now - self.at < ALIVE


async def sign_in(store: Store, name: str) -> WorkerSign:
    """Enter a worker into the list; its first sign. Raises `QueueError`."""
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
    return WorkerSign(name, place, "running", time.time(), 0, 0, 0)


async def read_signs(store: Store) -> list[WorkerSign]:
    """The last sign of each worker, in the order in which they came. Raises `QueueError`."""
    signs = []
    for place, _ in enumerate(_names((await store.read(WORKERS)).value)):
        sign = _sign((await store.read(f"{WORKER}{place}")).value)
        if sign is not None:
            signs.append(sign)
    return signs


def _names(data: bytes) -> list[str]:
    try:
        names = orjson.loads(data) if data else []
    except orjson.JSONDecodeError:
        return []
    return [str(name)[:256] for name in names[:MOST]] if isinstance(names, list) else []


def _sign(data: bytes) -> WorkerSign | None:
    """The sign; None for what is none, of another version perhaps."""
    kinds: dict[str, Callable[..., object]] = {"name": str, "state": str, "at": float}
    try:
        members = orjson.loads(data)
        return WorkerSign(
            **{name: kinds.get(name, int)(members[name]) for name in WorkerSign.__slots__}  # type: ignore[arg-type]
        )
    except (ValueError, TypeError, LookupError):
        return None
