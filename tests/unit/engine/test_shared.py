"""One rate and one breaker for several processes: together no faster than one, and nobody's death spoils it."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import sys
import zlib
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.engine.breaker import MAX_TRIP, NOTHING_SEEN, Seen, Trip
from pushcore.engine.rate import FRESH, Rate, RateLimiter, project_limiter
from pushcore.engine.shared import SEATS, SIZE, SharedLimiter, SharedState
from pushcore.errors import ConfigurationError

TRIP = Trip("BadDeviceToken", "BadDeviceToken: Use the other environment")
PROCESSES, ROUNDS = 4, 3000


@pytest.fixture
def shared(tmp_path: Path) -> SharedState:
    return SharedState.create(tmp_path / "state")


def limiter_of(shared: SharedState, rate: Rate | None = None) -> SharedLimiter:
    return SharedLimiter(shared, project_limiter() if rate is None else RateLimiter(rate))


def again(shared: SharedState) -> SharedState:
    """As another process would attach."""
    return SharedState(shared.path)


# --- in one process ---------------------------------------------------------------------------------------------------


def test_it_answers_as_a_limiter_of_its_own_would(shared: SharedState) -> None:
    alone, together = project_limiter(), [limiter_of(shared), limiter_of(again(shared))]
    now = 5000.0
    for step in range(2000):
        each = together[step % 2]
        assert each.permits(256, now) == alone.permits(256, now)
        if step % 3 == 0:
            each.give_back(1, now)
            alone.give_back(1, now)
        if step == 1500:
            each.refused(12.0, now)
            alone.refused(12.0, now)
        assert each.closed(now) == alone.closed(now)
        wait = together[1 - step % 2].wait(now)
        assert wait == alone.wait(now)
        now += max(wait, 0.01)
    together[0].close(now + 7, now)
    assert together[1].wait(now) == 7


def test_a_trip_is_seen_by_all_and_the_first_stays(shared: SharedState) -> None:
    other = again(shared)
    assert other.trip is None
    assert shared.stop(TRIP) == TRIP
    assert other.trip == TRIP
    assert other.stop(Trip("BadTopic", "later")) == TRIP
    assert shared.trip == TRIP
    assert SharedState.create(shared.path).trip is None  # another campaign
    assert shared.trip == TRIP


def test_the_longest_trip_fits(shared: SharedState) -> None:
    longest = Trip("\U0001f600" * 100, "\U0001f600" * 600)
    assert len(longest.encode()) <= MAX_TRIP
    shared.stop(longest)
    assert again(shared).trip == longest


def test_it_can_be_handed_to_a_new_process(shared: SharedState) -> None:
    limiter_of(shared).close(500.0, 100.0)
    assert limiter_of(pickle.loads(pickle.dumps(shared))).closed(100.0) == 400


def test_the_file_is_its_owners_alone(shared: SharedState) -> None:
    assert os.stat(shared.path).st_mode & 0o777 == 0o600
    assert os.listdir(Path(shared.path).parent) == ["state"]


def test_peers_hear_each_other_and_a_seat_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedState.create(tmp_path / "seats", parts=3)
    processes = []
    for pid in (1001, 1002, 1003):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        processes.append(again(shared).peers())
    assert {each.parts for each in processes} == {3}
    one, two, three = processes
    assert one.exchange(Seen(1, 2, 3, 4, 5, 0)) == NOTHING_SEEN
    assert two.exchange(Seen(10, 20, 30, 40, 50, 1)) == Seen(1, 2, 3, 4, 5, 0)
    assert three.exchange(NOTHING_SEEN) == Seen(11, 22, 33, 44, 55, 1)
    monkeypatch.setattr(os, "getpid", lambda: 1001)  # its next run begins anew
    assert again(shared).peers().exchange(NOTHING_SEEN) == Seen(10, 20, 30, 40, 50, 1)
    for pid in range(2000, 2000 + SEATS):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        last = again(shared).peers()
    assert last.exchange(Seen(7, 7, 7, 7, 7, 7)) == Seen(
        10, 20, 30, 40, 50, 1
    )  # without a seat it hears all the same
    assert one.exchange(NOTHING_SEEN) == Seen(10, 20, 30, 40, 50, 1)


def test_a_seat_that_was_written_half_has_seen_nothing(
    shared: SharedState, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = shared.peers()
    peers.exchange(Seen(1, 2, 3, 4, 5, 1))
    path = Path(shared.path)
    before = path.read_bytes()
    peers.exchange(Seen(6, 7, 8, 9, 10, 0))
    after = path.read_bytes()
    changed = [index for index in range(SIZE) if before[index] != after[index]]
    assert len(changed) > 5
    monkeypatch.setattr(os, "getpid", lambda: 1)
    other = again(shared).peers()
    assert other.exchange(NOTHING_SEEN) == Seen(6, 7, 8, 9, 10, 0)
    torn = bytearray(path.read_bytes())
    for index in changed[:-1]:
        torn[index] = before[index]
        path.write_bytes(torn)
        assert other.exchange(NOTHING_SEEN) == NOTHING_SEEN


def test_a_file_without_shared_state_is_rejected(tmp_path: Path) -> None:
    for content in (b"", b"x" * SIZE, b"pushcore shared state 1\n"):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ConfigurationError, match="not a shared state"):
            SharedState(tmp_path / "other")
    with pytest.raises(FileNotFoundError):
        SharedState(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        SharedState.create(tmp_path / "none" / "state")


# --- a file that was damaged ------------------------------------------------------------------------------------------


def test_a_process_that_was_killed_while_it_wrote_leaves_the_old_state(shared: SharedState) -> None:
    """Every prefix of what a change writes, as SIGKILL may leave it."""
    limiter_of(shared).close(5000.0, 4000.0)
    path = Path(shared.path)
    before = path.read_bytes()
    limiter_of(shared).close(6000.0, 4000.0)
    after = path.read_bytes()
    changed = [index for index in range(SIZE) if before[index] != after[index]]
    active = min(changed)  # the byte that says which slot holds is written last
    assert len(changed) > 8
    torn = bytearray(before)
    for index in changed:
        if index == active:
            continue
        torn[index] = after[index]
        path.write_bytes(torn)
        assert again(shared).load() == (1.0, 5000.0, 5000.0, 5000.0, 5000.0, 0.0)
    path.write_bytes(after)
    assert again(shared).load() == (1.0, 6000.0, 6000.0, 6000.0, 6000.0, 0.0)


@given(
    st.lists(st.tuples(st.integers(32, 2600), st.integers(0, 255)), min_size=1, max_size=40), st.booleans()
)
def test_no_damage_can_break_it(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], sound: bool
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "state"
    shared = SharedState.create(path)
    limiter_of(shared).permits(100, 1000.0)
    shared.stop(TRIP)
    data = bytearray(path.read_bytes())
    for offset, value in damage:
        data[offset] = value
    if sound:  # values that nobody stored, with a checksum that fits
        for slot in (64, 128):
            data[slot + 48 : slot + 52] = struct.pack("<I", zlib.crc32(data[slot : slot + 48]))
    path.write_bytes(data)
    other = again(shared)
    limiter = limiter_of(other)
    assert limiter.permits(10_000, 1000.0) <= 1000
    wait = limiter.wait(1000.0)
    assert 0 <= wait <= 86_461
    assert limiter.permits(1, 1000.0 + wait) == 1
    assert other.trip in (None, TRIP)
    other.close()
    shared.close()


def test_a_trip_that_was_written_half_is_none_and_can_be_written_again(shared: SharedState) -> None:
    shared.stop(TRIP)
    path = Path(shared.path)
    data = bytearray(path.read_bytes())
    data[270] ^= 1
    path.write_bytes(data)
    other = again(shared)
    assert other.trip is None
    assert other.load() == FRESH
    other.stop(TRIP)
    assert other.trip == TRIP


# --- several processes --------------------------------------------------------------------------------------------------


def count_up(shared: SharedState, results: Connection) -> None:
    """Takes permits at one moment of a frozen clock, one by one, until there are none; then changes and changes back."""
    limiter = limiter_of(shared, Rate(200_000))
    taken = 0
    while limiter.permits(1, 1000.0):
        taken += 1
    for _ in range(ROUNDS):
        with shared.locked():
            left, *others = shared.load()
            shared.store((left + 1, *others))  # type: ignore[arg-type]  # what the types forbid
    results.send((taken, shared.trip))
    results.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_one_rate(method: str, shared: SharedState) -> None:
    """No permit is given twice and no change is lost, whether the object was inherited or handed over."""
    limiter_of(shared, Rate(200_000)).permits(0, 1000.0)
    shared.stop(TRIP)
    context: Any = multiprocessing.get_context(method)
    ends, children = [], []
    for _ in range(PROCESSES):
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=count_up, args=(shared, there))
        child.start()
        there.close()
        ends.append(here)
        children.append(child)
    results = [each.recv() for each in ends]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert sum(taken for taken, _ in results) >= 20_000
    left = shared.load()[0]
    given = sum(taken for taken, _ in results)
    # What one process added in its rounds, another may have taken as a permit.
    assert given + left == 20_000 + PROCESSES * ROUNDS
    assert {trip for _, trip in results} == {TRIP}


def test_a_process_that_dies_with_the_lock_leaves_it_to_the_others(shared: SharedState) -> None:
    code = (
        "import sys, time\n"
        "from pushcore.engine.shared import SharedState\n"
        "shared = SharedState(sys.argv[1])\n"
        "with shared.locked():\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    limiter_of(shared).close(5000.0, 4000.0)
    with subprocess.Popen([sys.executable, "-c", code, shared.path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        handle = os.open(shared.path, os.O_RDWR)
        with pytest.raises(OSError, match="unavailable"):
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert limiter_of(shared).closed(4000.0) == 1000
    os.close(handle)


def test_a_failure_within_the_lock_stores_nothing(shared: SharedState) -> None:
    limiter = limiter_of(shared)
    limiter.permits(1, 1000.0)
    before = shared.load()
    with pytest.raises(TypeError):
        limiter.permits("many", 1000.0)  # type: ignore[arg-type]  # what the types forbid
    assert again(shared).load() == before
    assert limiter.permits(1, 1000.0) == 1
