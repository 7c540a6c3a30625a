"""Names, leases and the one function that all adapters' stores are used through."""

from __future__ import annotations

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.protocol import Lease, campaign_name, overwrite


@pytest.mark.parametrize("name", ["a", "A-b_9", "x" * 64])
def test_a_name_that_every_queue_takes(name: str) -> None:
    assert campaign_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a.b", "a/b", "a*", "ä", "a\n", "a:b"])
def test_a_name_that_some_queue_would_not_take(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64 letters") as caught:
        campaign_name(name)
    assert len(str(caught.value)) < 200


def test_leases_of_one_chunk_are_told_apart() -> None:
    one, two = Lease(b"chunk", 1, "h"), Lease(b"chunk", 1, "h")
    assert one.nonce != two.nonce
    assert len(one.nonce) == 16
    assert one != two


class Contended(MemoryQueue):
    """Somebody else writes first, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__("camp")
        self.times = times
        self.writes = 0

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        self.writes += 1
        if self.times:
            self.times -= 1
            await super().write(name, b"theirs %d" % self.times, revision)
        return await super().write(name, value, revision)


@pytest.mark.parametrize("times", [0, 1, 5])
async def test_overwriting_ends_with_the_value_whoever_else_writes(times: int) -> None:
    store = Contended(times)
    await overwrite(store, "state", b"ours")
    assert (await store.read("state")).value == b"ours"
    assert store.writes == times + 1


async def test_an_equal_value_is_not_written_again() -> None:
    store = Contended(0)
    await overwrite(store, "state", b"ours")
    await overwrite(store, "state", b"ours")
    assert store.writes == 1


async def test_an_empty_value_is_a_value() -> None:
    store = Contended(0)
    await overwrite(store, "trip", b"")
    assert (await store.read("trip")).revision > 0
