"""Rates and percentiles over the last seconds, from a snapshot per second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fakeservers.control.problem import Problem
from fakeservers.control.service import Calls
from fakeservers.serving.latency import percentile

PERIOD = 1.0
"""Seconds between two snapshots."""
WINDOW = 10
"""Snapshots of a percentile's window."""
HISTORY = 120
"""Snapshots in the page's curves."""
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

Answered = dict[str, Any]


class Meter:
    """Takes a snapshot every second while its `async with` block runs, and wakes tasks that wait for it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._last: Answered = {}
        self._last_at = 0.0
        self._requests: dict[str, int] = {}
        self._buckets: dict[str, deque[list[int]]] = {}
        self._history: deque[Answered] = deque(maxlen=HISTORY)
        self._ticked = asyncio.Condition()
        self._ticks = 0
        self._ended = False
        self.watchers = 0
        """Pages that read events. Without any, snapshots have no notifications."""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Meter:
        await self._look()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        async with self._ticked:
            self._ended = True
            self._ticked.notify_all()

    async def next(self, after: int) -> int:
        """Wait for a snapshot after this number. Returns its number, -1 when there will be none."""
        async with self._ticked:
            await self._ticked.wait_for(lambda: self._ended or self._ticks > after)
        return -1 if self._ended else self._ticks

    @property
    def history(self) -> list[Answered]:
        """Rates and percentiles of the last snapshots, oldest first."""
        return list(self._history)

    @property
    def state(self) -> Answered:
        """The last snapshot: connections, counters, notifications and faults, with rates and percentiles."""
        services = {
            name: {key: value for key, value in service.items() if key != "latency"}
            for name, service in self._last["services"].items()
        }
        return {**self._last, "services": services, "now": self._history[-1]}

    async def look(self) -> None:
        """Take a snapshot now, notifications included."""
        async with self._ticked:
            self._last = await self._calls.call("snapshot", {})
            self._ticks += 1
            self._ticked.notify_all()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            with suppress(Problem):  # a server process has just ended, which `processes` reports
                await self._look()

    async def _look(self) -> None:
        snapshot = await self._calls.call("snapshot", {} if self.watchers else {"notifications": 0})
        now = time.monotonic()
        elapsed = now - self._last_at
        point: Answered = {"time": time.time(), "services": {}}
        for name, service in snapshot["services"].items():
            buckets = self._buckets.setdefault(name, deque(maxlen=WINDOW + 1))
            counts = service["latency"]["buckets"]
            if buckets and any(new < old for new, old in zip(counts, buckets[-1], strict=True)):
                buckets.clear()  # the counters were reset
            buckets.append(counts)
            lately = [new - old for new, old in zip(counts, buckets[0], strict=True)]
            arrived = service["requests"] - self._requests.get(name, service["requests"])
            self._requests[name] = service["requests"]
            point["services"][name] = {
                "rate": round(max(arrived, 0) / elapsed, 1),
                "connections": service["connections"],
                "streams": service["streams"],
                **{label: percentile(lately, share) for label, share in SHARES.items()},
            }
        async with self._ticked:
            self._last, self._last_at = snapshot, now
            self._history.append(point)
            self._ticks += 1
            self._ticked.notify_all()


def counters(snapshot: Mapping[str, Any]) -> Answered:
    """The counters of a snapshot, with percentiles since the start in place of buckets."""
    services = {}
    for name, service in snapshot["services"].items():
        latency = service["latency"]
        services[name] = {key: value for key, value in service.items() if key != "latency"} | {
            "latency": {
                "answers": sum(latency["buckets"]),
                "seconds": latency["seconds"],
                **{label: percentile(latency["buckets"], share) for label, share in SHARES.items()},
            }
        }
    return {"services": services, "processes": snapshot["processes"]}
