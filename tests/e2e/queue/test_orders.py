"""`campaign pause`, `resume`, `cancel` and `watch`, with three workers as processes, by what the fake was sent and when."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeApns
from tests.e2e.queue.command_line import Campaign, CommandLine, of_apns, payload
from tests.e2e.support import soon
from tests.support import queues

WORKERS = 3
ROWS = 6000


@contextlib.asynccontextmanager
async def running(
    pushcore: CommandLine, kind: str, certs: Certificates, place: Path
) -> AsyncIterator[tuple[Campaign, FakeApns, list[asyncio.subprocess.Process]]]:
    server = queues.start(kind, place / "queue")
    campaign = Campaign(pushcore, server.url, place)
    (place / "devices.csv").write_text("token\n" + "".join(f"{row:064x}\n" for row in range(1, ROWS + 1)))
    workers: list[asyncio.subprocess.Process] = []
    try:
        async with FakeApns(certs=certs, keep=2 * ROWS, delay=0.02) as fake:
            await campaign.create(str(place / "devices.csv"), "--chunk", "250")
            # Paused until all have started: on a busy machine one would have sent everything before the last one starts.
            await campaign.run("campaign", "pause", *campaign.at)
            options = [*of_apns(fake), *payload(place, {"aps": {"alert": "Hi"}}), "--rate", "1000/s"]
            workers += [await pushcore.start(*campaign.work, *options) for _ in range(WORKERS)]
            async with asyncio.timeout(60.0):
                await asyncio.gather(*map(paused, workers))
            await campaign.run("campaign", "resume", *campaign.at)
            yield campaign, fake, workers
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
        server.stop()


async def paused(worker: asyncio.subprocess.Process) -> None:
    """Returns when a worker has said that it waits: it has sent a heartbeat by then."""
    assert worker.stdout is not None
    await worker.stdout.readuntil(b"pushcore: the campaign is paused; waiting\n")


def sent(fake: FakeApns) -> int:
    return sum(fake.counts.values())


@pytest.mark.parametrize("kind", queues.ADAPTERS)
async def test_pause_watch_resume_and_cancel(
    kind: str, pushcore: CommandLine, certs: Certificates, tmp_path: Path
) -> None:
    async with running(pushcore, kind, certs, tmp_path) as (campaign, fake, workers):
        run = campaign.run
        await soon(lambda: sent(fake) >= 500, 20)
        began = time.monotonic()
        code, out = await run("campaign", "pause", *campaign.at)
        took = time.monotonic() - began
        assert (code, out) == (0, f"pushcore: autumn is paused; {WORKERS} of {WORKERS} workers obey\n")
        silent = sent(fake)
        assert silent < ROWS
        last = max(request.time for request in fake.received)
        assert last - (time.time() - (time.monotonic() - began)) < 2.0, took
        await asyncio.sleep(1.0)  # what a worker that did not obey would send at 1000 a second
        assert sent(fake) == silent

        code, out = await run("campaign", "watch", *campaign.at, "--once")
        assert code == 0
        assert "campaign   autumn, paused\n" in out
        assert out.count(": paused, ") == WORKERS

        code, out = await run("campaign", "resume", *campaign.at)
        assert (code, out) == (0, f"pushcore: autumn is running; {WORKERS} of {WORKERS} workers obey\n")
        await soon(lambda: sent(fake) > silent)

        code, out = await run("campaign", "cancel", *campaign.at)
        assert (code, out) == (0, f"pushcore: autumn is cancelled; {WORKERS} of {WORKERS} workers obey\n")
        for worker in workers:
            said, _ = await asyncio.wait_for(worker.communicate(), 20)
            assert worker.returncode == 0
            assert b"pushcore: the campaign is paused; waiting\n" in said
            assert b"pushcore: the campaign continues\n" in said
            assert b"pushcore: the campaign is cancelled; unsent rows are given back\n" in said
        assert sent(fake) < ROWS
        code, out = await run("campaign", "run", *campaign.at)
        assert (
            f"{sent(fake)} of {ROWS} rows have a result" in out
        )  # nothing is in doubt, nothing was sent twice
        assert len({request.token for request in fake.received}) == sent(fake)
