"""Callers take turns, and none has more than its share in hand."""

from __future__ import annotations

from collections import Counter

from pushcore.gateway.fair import QUANTUM, FairQueue


def filled(most: int = 1000, **counts: int) -> FairQueue[str]:
    queue: FairQueue[str] = FairQueue(most)
    for caller, count in counts.items():
        for number in range(count):
            queue.add(caller, [f"{caller}{number}"])
    return queue


def test_one_caller_is_first_in_first_out() -> None:
    queue = filled(a=3)
    assert queue.take(2) == ["a0", "a1"]
    assert queue.take(5) == ["a2"]
    assert queue.take(5) == []
    assert queue.size == 0


def test_a_single_push_waits_for_one_quantum_of_a_million() -> None:
    queue = filled(a=10_000)
    queue.take(64)
    queue.add("b", ["b0"])
    assert "b0" in queue.take(QUANTUM + 1)


def test_shares_are_equal() -> None:
    queue = filled(a=1000, b=1000, c=1000)
    taken = Counter(item[0] for item in queue.take(300 - 300 % (3 * QUANTUM)))
    assert len(set(taken.values())) == 1


def test_a_caller_with_its_share_in_hand_is_passed_over() -> None:
    queue = filled(most=20, a=100, b=5)
    assert Counter(item[0] for item in queue.take(100)) == {"a": 20, "b": 5}
    assert queue.take(100) == []
    queue.finished("a", 1)
    queue.finished("a", 2)
    assert len(queue.take(100)) == 3


def test_items_can_be_taken_back() -> None:
    queue: FairQueue[list[int]] = FairQueue(10)
    items = [[number] for number in range(4)]
    for item in items:
        queue.add("a", [item])
    assert queue.remove("a", {id(items[1]), id(items[3])}) == [[1], [3]]
    assert queue.remove("b", {id(items[1])}) == []
    assert queue.take(9) == [[0], [2]]
    assert queue.remove("a", {id(items[0])}) == []
    queue.add("a", [items[0]])
    assert queue.remove("a", {id(items[0])}) == [[0]]
    assert queue.size == 0
    assert queue.take(9) == []
