"""The results of one request's pushes. Deadlines and withdrawn pushes: tests/unit/gateway/test_senders.py."""

from __future__ import annotations

import asyncio
from typing import Any

from pushcore.gateway.batches import PushBatch
from pushcore.results import Result, Verdict
from tests.support.scripted import pushes


async def test_a_batch_takes_the_first_result_of_each_push() -> None:
    batch = PushBatch(2)
    first, second = (Result(push, Verdict.ACCEPTED, 200) for push in pushes(2))
    submitted: Any = None  # a batch needs no more than the keys
    batch.finish([(second.push, 1, submitted)], [second])
    batch.finish([(first.push, 1, submitted)], [first])
    assert batch.results == [None, second]
    waiting = asyncio.create_task(batch.wait(5))
    await asyncio.sleep(0)
    batch.finish([(first.push, 0, submitted)], [first])
    await waiting
    assert batch.missing == 0
    await batch.wait(5)
