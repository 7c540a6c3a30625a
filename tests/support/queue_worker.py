"""A worker in a process of its own, for tests that kill it: `python -m tests.support.queue_worker '{"url": …}'`.

Ends by itself when the campaign is finished; drains on SIGTERM, and then prints its report.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import uvloop

from pushcore import ApnsClient, ApnsKey, PushEngine
from pushcore.queue.errors import QueueUnavailable
from pushcore.queue.fleet import Fleet
from pushcore.queue.opening import open_queue
from pushcore.queue.pushes import notifications
from pushcore.queue.worker import Worker


async def work(url: str, campaign: str, config: str, idle: float, window: int) -> None:
    apns = json.loads(Path(config).read_text())
    key = ApnsKey.from_file(apns["key_file"], key_id=apns["key_id"], team_id=apns["team_id"])
    client = ApnsClient(key, topic=apns["topic"], url=apns["url"], ca_file=apns["ca_file"])
    queue = await open_queue(url, campaign, idle=idle)
    try:
        async with Fleet(queue) as fleet, PushEngine(client, window=window, shared=fleet) as engine:
            worker = Worker(queue, engine, fleet, notifications({"aps": {"alert": "Hi"}}))
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain, 5.0)
            report = await worker.run()
    finally:
        await queue.close()
    print(json.dumps({"chunks": report.chunks, "rows": report.rows, "released": report.released}), flush=True)


async def work_soon(**options: Any) -> None:
    """Wait and try again: a test may have killed the queue just now."""
    while True:
        try:
            return await work(**options)
        except QueueUnavailable:
            await asyncio.sleep(0.05)


def main() -> None:
    options: dict[str, Any] = json.loads(sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work_soon(**options))


if __name__ == "__main__":
    main()
