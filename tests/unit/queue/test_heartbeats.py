"""What workers say of themselves in the store."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from pushcore.queue import heartbeats
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.heartbeats import ALIVE, GONE, WORKER, WORKERS, read_heartbeats, register
from pushcore.queue.protocol import overwrite


async def test_each_worker_has_a_place_and_keeps_it() -> None:
    store = MemoryQueue("camp")
    first, second = await register(store, "a.example-1"), await register(store, "b.example-2")
    assert (first.place, second.place, (await register(store, "a.example-1")).place) == (0, 1, 0)
    await replace(second, state="paused", rows=7, held=2, busy=1, at=100.0).write(store)
    (found,) = await read_heartbeats(store)  # the first has not said anything yet
    assert (found.name, found.state, found.rows, found.held, found.busy) == ("b.example-2", "paused", 7, 2, 1)
    assert found.alive(100.0 + ALIVE - 1)
    assert not found.alive(100.0 + ALIVE)
    assert not replace(found, state=GONE).alive(100.0)


async def test_places_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeats, "MOST", 2)
    store = MemoryQueue("camp")
    assert [(await register(store, name)).place for name in ("a", "b", "c")] == [0, 1, 0]
    assert orjson.loads((await store.read(WORKERS)).value) == ["c", "b"]


@pytest.mark.parametrize("value", [b"", b"{", b"[1]", b'{"name": "a"}', b"null"])
async def test_a_malformed_sign_is_skipped(value: bytes) -> None:
    store = MemoryQueue("camp")
    await register(store, "a")
    await overwrite(store, f"{WORKER}0", value)
    assert await read_heartbeats(store) == []
    await overwrite(store, WORKERS, value)
    assert await read_heartbeats(store) == []


async def test_two_workers_that_come_at_the_same_time_have_a_place_each() -> None:
    class Overtaken(MemoryQueue):
        other = "first"

        async def write(self, name: str, value: bytes, revision: int) -> bool:
            if self.other:
                other, self.other = self.other, ""
                await register(self, other)
            return await super().write(name, value, revision)

    store = Overtaken("camp")
    assert (await register(store, "second")).place == 1
    assert orjson.loads((await store.read(WORKERS)).value) == ["first", "second"]
