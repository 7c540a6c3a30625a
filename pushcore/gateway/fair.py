"""`FairQueue`: pushes of several callers, taken in turn, so that one caller's queue does not delay the others."""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import Final, Generic, TypeVar

T = TypeVar("T")

QUANTUM: Final = 16
"""Pushes of one caller that are taken before the next caller has its turn."""


class FairQueue(Generic[T]):
    """First in, first out for each caller; among callers in turn, `QUANTUM` pushes each (round robin).

    Args:
        most: pushes of one caller that may be between `take` and `finished`; the rest of its queue waits.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._queues: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()
        self._taken: dict[str, int] = {}
        self.size = 0
        """Items that wait."""

    def add(self, caller: str, items: list[T]) -> None:
        """Queue items, at least one."""
        queue = self._queues.get(caller)
        if queue is None:
            queue = self._queues[caller] = deque()
            self._turns.append(caller)
        queue.extend(items)
        self.size += len(items)

    def take(self, most: int) -> list[T]:
        """The next items, `most` at most; callers with too many items in progress are skipped."""
        items: list[T] = []
        turns, passed = self._turns, 0
        while turns and len(items) < most and passed < len(turns):
            caller = turns[0]
            queue = self._queues[caller]
            taken = self._taken.get(caller, 0)
            count = min(len(queue), QUANTUM, self.most - taken, most - len(items))
            if count <= 0:
                turns.rotate(-1)
                passed += 1
                continue
            passed = 0
            items += map(deque.popleft, repeat(queue, count))
            self._taken[caller] = taken + count
            turns.popleft()
            if queue:
                turns.append(caller)
            else:
                del self._queues[caller]
        self.size -= len(items)
        return items

    def finished(self, caller: str, count: int) -> None:
        """Some of the caller's items in progress have ended."""
        left = self._taken[caller] - count
        if left:
            self._taken[caller] = left
        else:
            del self._taken[caller]

    def remove(self, caller: str, items: set[int]) -> list[T]:
        """Take the items of these ids (`id(item)`) out of the queue; those that are not in it any more are left."""
        queue = self._queues.get(caller)
        if queue is None:
            return []
        removed = [item for item in queue if id(item) in items]
        if removed:
            kept = deque(item for item in queue if id(item) not in items)
            self.size -= len(removed)
            if kept:
                self._queues[caller] = kept
            else:
                del self._queues[caller]
                self._turns.remove(caller)
        return removed
