"""One worker of `bench.campaigns.queues`, or the engine without a queue: `python -m bench.campaigns.queue_worker '{"url": …}'`.

Responses are made in the process. It prints "ready" when it has a connection, and at its end one JSON line: rows, and
seconds of CPU (`cpu`) or microseconds per push (`cpu_us`).
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore import ApnsClient, ApnsKey, Notification, PushEngine
from pushcore.engine.collector import relax_collector
from pushcore.journal.journal import id_prefix
from pushcore.queue.fleet import Fleet
from pushcore.queue.opening import open_queue
from pushcore.queue.pushes import NumberedNotification, notifications
from pushcore.queue.worker import Worker

from .. import inprocess

PAYLOAD: Final = {"aps": {"alert": {"title": "Order shipped", "body": "Your order is on its way."}}}
_SAMPLE: Final = 200_000


def burn(loops: int) -> None:
    """Use CPU."""
    for _ in range(loops):
        pass


def calibrate(microseconds: float) -> int:
    """How many loops of `burn` take this long here. The fastest of several attempts counts: it was disturbed least."""
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        burn(_SAMPLE)
        best = min(best, time.process_time() - began)
    return round(microseconds * 1e-6 / (best / _SAMPLE))


def client() -> ApnsClient:
    """A client with its own key."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key.p8"
        path.write_bytes(key)
        auth = ApnsKey.from_file(path, key_id="ABC123DEFG", team_id="TEAM123456")
    return ApnsClient(auth, topic="com.example.app", url=inprocess.APNS_URL, max_connections=2)


def working(loops: int) -> None:
    """From now on each response costs this many loops."""
    answer = inprocess.AnsweringTransport._answer

    def work(self: inprocess.AnsweringTransport, stream: bytes) -> bytes:
        burn(loops)
        return answer(self, stream)

    inprocess.AnsweringTransport._answer = work  # type: ignore[method-assign]  # in the place of the wire, in this process alone


@asynccontextmanager
async def connected() -> AsyncIterator[ApnsClient]:
    """A client that has sent a push, so that connecting is not measured. Its engine may be paused meanwhile."""
    async with client() as made:
        (await made.send(Notification("00" * 32, PAYLOAD))).raise_for_verdict()
        yield made


async def work(url: str, campaign: str, loops: int) -> dict[str, Any]:
    """Send as a worker of a campaign."""
    queue = await open_queue(url, campaign)
    try:
        async with Fleet(queue) as fleet, connected() as made, PushEngine(made, shared=fleet) as engine:
            if loops:
                working(loops)
            print("ready", flush=True)
            began = time.process_time()
            report = await Worker(queue, engine, fleet, notifications(PAYLOAD)).run()
            return {"rows": report.rows, "cpu": time.process_time() - began}
    finally:
        await queue.close()


async def alone(rows: int) -> dict[str, Any]:
    """Send the same pushes without a queue."""
    async with connected() as made, PushEngine(made) as engine:
        began, ok = time.process_time(), 0
        async for result in engine.send_many(pushes(rows)):
            ok += result.ok
        used = time.process_time() - began
        assert ok == rows, f"{ok} of {rows} pushes were accepted"
        return {"rows": rows, "cpu_us": used / rows * 1e6}


def pushes(count: int) -> Iterator[NumberedNotification]:
    """The pushes that a program's own loop would make: a token, a payload, an apns-id."""
    prefix = id_prefix("bench")
    for row in range(1, count + 1):
        yield NumberedNotification(row, f"{row:064x}", PAYLOAD, apns_id=f"{prefix}{row:012x}")


def main() -> None:
    """Run, and print the figures."""
    options = json.loads(sys.argv[1])
    inprocess.install()
    relax_collector()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(alone(**options) if "rows" in options else work(**options))), flush=True)


if __name__ == "__main__":
    main()
