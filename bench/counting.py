"""What a push allocates, counted in a process of its own without a server: `python -m bench.counting PROVIDER`.

It prints a JSON list with a row for each case of `bench.cases`. The responses come from `bench.inprocess`, so the
same code gives the same counts on every machine. The pushes are made before the count begins.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from fakeservers.fcm.service_account import FILE_NAME
from fakeservers.fcm.service_account import FakeServiceAccount as FakeAccount
from pushcore import ApnsClient, ApnsKey, FcmClient, PushEngine, ServiceAccount
from pushcore.http2.connection import Connection
from pushcore.http2.protocol import Link
from pushcore.http2.streams import Limits

from . import inprocess
from .cases import NO_RATE, FrameLoop
from .harness.providers import PROVIDERS, TIMEOUT, USUAL
from .harness.stage import CannotMeasure, Target

WARM: Final = 3000
"""Pushes before anything is counted: templates are made, the engine's window is whole, free lists are full."""
MANY: Final = 2000
"""Pushes whose allocations are counted."""
HELD: Final = 1000
"""Pushes in flight when they are looked at: what there is once for a run must not count."""
LONGEST: Final = 10.0  # seconds until all pushes are in flight
FIELDS: Final = {
    "apns": [(b"apns-topic", b"com.example.app"), (b"apns-push-type", b"alert")],
    "fcm": [(b"content-type", b"application/json"), (b"x-goog-api-format-version", b"2")],
}
URLS: Final = {"apns": inprocess.APNS_URL, "fcm": inprocess.FCM_URL}


@dataclass(frozen=True, slots=True)
class CountedCase:
    """A case that is ready. `make`: makes n pushes. `send`: returns when all of them have a response, or raises.
    `room`: how many can be in flight on `links`."""

    make: Callable[[int], list[Any]]
    send: Callable[[list[Any]], Coroutine[Any, Any, None]]
    links: list[Link]
    room: int = HELD


@asynccontextmanager
async def frames(provider: str) -> AsyncIterator[CountedCase]:
    """Requests through `connection` and `protocol` alone; a push is its path."""
    loop = asyncio.get_running_loop()
    target = Target("inprocess", provider, URLS[provider], "", 0, {"project_id": "fake-project"})
    described = PROVIDERS[provider]
    feeds: list[FrameLoop] = []
    limits = Limits(timeout=TIMEOUT)
    link = Link(Connection(limits, loop.time()), lambda link: feeds[-1].fill(link) if feeds else None)
    inprocess.AnsweringTransport(link, _port(provider))
    await link.ready
    link.connection.authorize(b"bearer " + b"x" * 180)

    def make(many: int) -> list[bytes]:
        return [described.path(target, number, USUAL).encode() for number in range(many)]

    async def send(paths: list[bytes]) -> None:
        feed = FrameLoop(target, FIELDS[provider], iter(paths), described.body(USUAL), described.streams)
        feeds[:] = [feed]
        feed.template, feed.going = template, True
        feed.fill(link)
        await feed.done
        _check(feed.statuses.get(200, 0), paths)

    template = FrameLoop(target, FIELDS[provider], iter(()), b"", 0).template
    yield CountedCase(make, send, [link], described.streams)
    link.close()
    await link.gone


@asynccontextmanager
async def client(provider: str) -> AsyncIterator[ApnsClient | FcmClient]:
    """pushcore's client, with enough connections for `HELD` pushes in flight."""
    made: ApnsClient | FcmClient
    connections = HELD // PROVIDERS[provider].streams
    if provider == "apns":
        key = ApnsKey(ec.generate_private_key(ec.SECP256R1()), key_id="ABC123DEFG", team_id="TEAM123456")
        made = ApnsClient(
            key, topic="com.example.app", url=URLS[provider], max_connections=connections, timeout=TIMEOUT
        )
    else:
        with tempfile.TemporaryDirectory() as directory:
            FakeAccount.create().write(Path(directory) / FILE_NAME, inprocess.OAUTH_URL)
            account = ServiceAccount.from_file(Path(directory) / FILE_NAME)
        made = FcmClient(account, url=URLS[provider], max_connections=connections, timeout=TIMEOUT)
    async with made:
        yield made


@asynccontextmanager
async def engine(provider: str) -> AsyncIterator[CountedCase]:
    """`PushEngine.send_many`; results are not kept."""
    async with client(provider) as made, PushEngine(made, rate=NO_RATE) as push_engine:

        async def send(pushes: list[Any]) -> None:
            ok = 0
            async for result in push_engine.send_many(pushes):
                ok += result.ok
            _check(ok, pushes)

        yield CountedCase(
            lambda many: list(PROVIDERS[provider].pushes(many, USUAL)), send, made._dispatcher.pool.links
        )


@asynccontextmanager
async def send(provider: str) -> AsyncIterator[CountedCase]:
    """One task per push in flight; each awaits `client.send`."""
    async with client(provider) as made:

        async def send(pushes: list[Any]) -> None:
            ok, source = 0, iter(pushes)

            async def worker() -> None:
                nonlocal ok
                for push in source:
                    result = await made.send(push)
                    ok += result.ok

            await asyncio.gather(*(worker() for _ in range(HELD)))
            _check(ok, pushes)

        yield CountedCase(
            lambda many: list(PROVIDERS[provider].pushes(many, USUAL)), send, made._dispatcher.pool.links
        )


CASES: Final = {"frames": frames, "engine": engine, "send": send}


def _port(provider: str) -> int:
    return int(URLS[provider].rpartition(":")[2])


def _check(ok: int, pushes: list[Any]) -> None:
    if ok != len(pushes):
        raise CannotMeasure(f"{ok} of {len(pushes)} were accepted")


async def count(case: str, provider: str) -> dict[str, Any]:
    """The row of a case: for each notification, `allocations` in all, `blocks` and `objects` while it is in flight,
    and `left`, blocks that remain afterwards.

    The garbage collector is off meanwhile: what only it could free counts as left.
    """
    async with CASES[case](provider) as sender:
        await sender.send(sender.make(WARM))
        gc.collect()
        gc.disable()
        held = sender.make(sender.room)
        blocks = objects = left = 0
        for _ in range(2):  # the first time opens connections and grows lists that stay
            blocks, objects, left = await _hold(sender, held)
        allocations = await allocations_of(sender)
        gc.enable()
    row: dict[str, Any] = {"provider": provider, "case": case}
    row |= {"allocations": None if allocations is None else round(allocations / MANY, 2)}
    return row | {
        "blocks": round(blocks / len(held), 2),
        "objects": round(objects / len(held), 2),
        "left": round(left / len(held), 2),
    }


async def _hold(sender: CountedCase, pushes: list[Any]) -> tuple[int, int, int]:
    """Blocks and tracked objects while all of the pushes are in flight; then blocks afterwards."""
    inprocess.hold()
    objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    sending = asyncio.create_task(sender.send(pushes))
    async with asyncio.timeout(LONGEST):
        while sum(len(link.connection.streams) for link in sender.links) < len(pushes):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)  # a look at each turn
    blocks_held, objects_held = sys.getallocatedblocks() - blocks, len(gc.get_objects()) - objects
    inprocess.release()
    await sending
    del sending
    await asyncio.sleep(0)
    return blocks_held, objects_held, sys.getallocatedblocks() - blocks


async def allocations_of(sender: CountedCase, many: int = MANY) -> int | None:
    """The number of all allocations of this many pushes, freed ones included. None without memray."""
    try:
        memray = importlib.import_module("memray")
    except ImportError:
        return None
    pushes = sender.make(many)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "allocations"
        with memray.Tracker(file, trace_python_allocators=True):
            await sender.send(pushes)
        freed = {kind.value for kind in memray.AllocatorType if kind.name.endswith(("FREE", "MUNMAP"))}
        records = memray.FileReader(file).get_allocation_records()
        return sum(record.allocator not in freed for record in records)


async def _count_all(provider: str) -> list[dict[str, Any]]:
    return [await count(case, provider) for case in CASES]


if __name__ == "__main__":
    inprocess.install()
    print(json.dumps(asyncio.run(_count_all(sys.argv[1]))))
