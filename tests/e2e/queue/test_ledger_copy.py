"""The coordinator's machine is lost: another coordinator starts elsewhere from a copy that was taken while the first one ran."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from fakeservers import Certificates, FakeApns
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import inline_chunks
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.ledger import Ledger
from pushcore.queue.opening import open_queue
from tests.e2e.queue.test_crash import CHUNK, LEASED, WINDOW, Workers, requests_per_token
from tests.support import queues

DEVICES = 4000


def copy(source: Path, target: Path) -> None:
    """As `sqlite3 autumn.ledger ".backup copy.ledger"` does."""
    with sqlite3.connect(source) as running, sqlite3.connect(target) as copied:
        running.backup(copied)
    running.close()
    copied.close()


async def test_a_coordinator_starts_from_a_copy(tmp_path: Path, certs: Certificates) -> None:
    server = queues.start("redis", tmp_path / "redis")
    here, there = tmp_path / "here.ledger", tmp_path / "there.ledger"
    workers = Workers(
        url=server.url, campaign="copied", config=str(tmp_path / "apns.json"), idle=2.0, window=WINDOW
    )
    try:
        async with (
            FakeApns(keep=3 * DEVICES, delay=0.03, certs=certs) as fake,
            await open_queue(server.url, "copied", idle=2.0) as queue,
        ):
            fake.write_config(tmp_path)
            with Ledger.create(here, CampaignInfo("copied", "devices", CHUNK)) as ledger:
                coordinator = Coordinator(queue, ledger)
                rows = ({"token": f"{row:064x}"} for row in range(DEVICES))
                await coordinator.publish(inline_chunks(rows, CHUNK))
                collecting = asyncio.create_task(coordinator.run())
                worker = await workers.start()
                while ledger.status().done < DEVICES // 4:
                    await asyncio.sleep(0.005)
                await asyncio.to_thread(copy, here, there)
                while ledger.status().done < DEVICES // 2:
                    await asyncio.sleep(0.005)
                collecting.cancel()
                await asyncio.gather(collecting, return_exceptions=True)
                known = ledger.status().done
            here.unlink()  # with all that was collected since
            with Ledger.open(there) as ledger:
                lost = known - ledger.status().done
                assert 0 < lost < DEVICES
                status = await asyncio.wait_for(Coordinator(queue, ledger).run(), 60)
                assert await worker.wait() == 0
            assert (status.over, status.done) == (True, DEVICES)
            counts = requests_per_token(fake)
            assert len(counts) == DEVICES
            assert counts.total() - DEVICES <= lost + LEASED
    finally:
        await workers.end()
        server.stop()
