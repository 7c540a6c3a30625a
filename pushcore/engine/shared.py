"""One rate and one breaker for all processes of a campaign: a small file that they map into their memory.

Every process attaches by path, or inherits the object by fork or through a pickle. A lock on the file is held for the
microseconds of one change. It is a POSIX record lock (`lockf`), because that belongs to the process: the kernel
releases it when its process dies, however it dies, and a child does not inherit it. (The lock of `flock` belongs to the
open file, which forked processes have in common: they would not exclude each other, and one that dies holding it would leave
it to the rest.)

What each process has seen of responses stands in a seat of its own, with a checksum, so that all judge by the same.

What is changed is written beside the old state, in the other of two slots, and then one byte says which of them holds:
a process killed in between leaves the old state. Each slot has a checksum, and what cannot be is forgotten
(`RateLimiter.restore`), so a damaged file costs a new ramp and nothing else.

`now` must be of one clock for all of them: `time.monotonic()`, which is that of event loops. POSIX only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from ..key_material import checked_path
from .breaker import MAX_TRIP, NOTHING_SEEN, Seen, Trip
from .rate import FRESH, RateLimiter, State

SIZE: Final = 8192
SEATS: Final = 64
"""The number of processes that can share their counts."""

_MAGIC: Final = b"pushcore shared state 1\n"
_SLOT: Final = struct.Struct("<6dI")  # a `State` and its checksum
_ACTIVE: Final = 32  # offsets: which slot holds,
_PARTS: Final = 40
_SLOTS: Final = (64, 128)
_TRIP: Final = 256  # length and checksum, then the text
_TRIP_HEAD: Final = struct.Struct("<II")
_TEXT: Final = _TRIP + _TRIP_HEAD.size
_SEAT: Final = struct.Struct("<7QI")  # a process id, what it has `Seen`, and a checksum
_FIRST_SEAT: Final = 4096
_SEAT_SIZE: Final = 64


class SharedState:
    """The file of one campaign and provider. `create` makes it; every process that takes part attaches to `path`.

    `parts`: how many these are, as `create` was told; only the first `SEATS` that send know of each other's responses.
    Belongs to one thread of each process. Raises `ConfigurationError` when `path` is no such file, and `OSError` when
    it cannot be opened.
    """

    paused = False
    """Processes of one machine are stopped, never paused."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = checked_path(path, "the path of the shared state")
        self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.fstat(self._file).st_size != SIZE:
                raise ConfigurationError(f"{self.path} is not a shared state of pushcore")
            self._memory = mmap.mmap(self._file, SIZE)
        except BaseException:
            os.close(self._file)
            raise
        if self._memory[: len(_MAGIC)] != _MAGIC:
            self.close()
            raise ConfigurationError(f"{self.path} is not a shared state of pushcore")
        self.parts = max(int.from_bytes(self._memory[_PARTS : _PARTS + 4], "little"), 1)

    @classmethod
    def create(cls, path: str | os.PathLike[str], parts: int = 1) -> SharedState:
        """Create a new file and replace the old one; processes attached to the old one are no longer connected."""
        target = Path(path)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=target.name)
        try:
            with open(handle, "wb") as file:
                file.write(_MAGIC.ljust(_PARTS, b"\0") + parts.to_bytes(4, "little"))
                file.truncate(SIZE)
            os.replace(name, target)
        except BaseException:
            os.unlink(name)
            raise
        return cls(target)

    def close(self) -> None:
        """Detach; the file stays for other processes. Only if no other object of this process uses it."""
        self._memory.close()
        os.close(self._file)

    def __reduce__(self) -> tuple[type[SharedState], tuple[str]]:
        return SharedState, (self.path,)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out other processes. Waits for them, for microseconds."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    # --- the rate -------------------------------------------------------------------------------------------------

    def load(self) -> State:
        """What the last one stored, `FRESH` when there is nothing sound. Within `locked`."""
        active = self._memory[_ACTIVE] & 1
        for slot in (_SLOTS[active], _SLOTS[1 - active]):
            *values, checksum = _SLOT.unpack_from(self._memory, slot)
            if checksum == zlib.crc32(self._memory[slot : slot + _SLOT.size - 4]):
                left, at, used, closed_until, ramp_from, refused = values
                return left, at, used, closed_until, ramp_from, refused
        return FRESH

    def store(self, state: State) -> None:
        """Store the state for the next load. Within `locked`."""
        spare = 1 - (self._memory[_ACTIVE] & 1)
        packed = _SLOT.pack(*state, 0)[:-4]
        slot = _SLOTS[spare]
        self._memory[slot : slot + _SLOT.size] = packed + zlib.crc32(packed).to_bytes(4, "little")
        self._memory[_ACTIVE] = spare

    def limiter(self, name: str, limiter: RateLimiter) -> SharedLimiter:
        """The same for all who are attached. `name`: the provider's, of which a file has one."""
        return SharedLimiter(self, limiter)

    # --- the breaker ----------------------------------------------------------------------------------------------

    @property
    def trip(self) -> Trip | None:
        """The reason why the campaign stops, if one of its processes has one. Takes no lock: it may be asked every burst."""
        length, checksum = _TRIP_HEAD.unpack_from(self._memory, _TRIP)
        if not 0 < length <= MAX_TRIP:
            return None
        data = self._memory[_TEXT : _TEXT + length]
        return Trip.decode(data) if checksum == zlib.crc32(data) else None

    def stop(self, trip: Trip) -> Trip:
        """Tell other processes to stop. The first reason is kept and returned."""
        with self.locked():
            first = self.trip
            if first is not None:
                return first
            data = trip.encode()
            self._memory[_TEXT : _TEXT + len(data)] = data
            _TRIP_HEAD.pack_into(self._memory, _TRIP, len(data), zlib.crc32(data))
        return trip

    def peers(self) -> SharedPeers:
        """What the breakers of all who are attached have seen, from this process's place among them."""
        return SharedPeers(self, self._take_seat())

    def _take_seat(self) -> int | None:
        """The seat of this process, which stays its own. None when there is no other left."""
        own = os.getpid()
        with self.locked():
            for seat in self._seats():
                owner = self._read_seat(seat)[0]
                if owner in (0, own):
                    self._write_seat(seat, own, NOTHING_SEEN)
                    return seat
        return None

    def exchange(self, own: int | None, seen: Seen) -> Seen:
        """Store the counts of this seat's process; returns the sum of all other processes."""
        sums = [0] * len(seen)
        with self.locked():
            if own is not None:
                self._write_seat(own, self._read_seat(own)[0], seen)
            for seat in self._seats():
                owner, *values = self._read_seat(seat)
                if not owner:
                    break  # they are taken one after the other
                if seat != own:
                    sums = [one + more for one, more in zip(sums, values, strict=True)]
        return Seen(*sums)

    def _seats(self) -> range:
        return range(_FIRST_SEAT, _FIRST_SEAT + SEATS * _SEAT_SIZE, _SEAT_SIZE)

    def _read_seat(self, seat: int) -> tuple[int, ...]:
        """Whose the seat is, and what he has seen: nothing, where a kill or anything else has damaged it."""
        *values, checksum = _SEAT.unpack_from(self._memory, seat)
        sound = checksum == zlib.crc32(self._memory[seat : seat + _SEAT.size - 4])
        return tuple(values) if sound else (values[0], *NOTHING_SEEN)

    def _write_seat(self, seat: int, owner: int, seen: Seen) -> None:
        packed = _SEAT.pack(owner, *seen, 0)[:-4]
        self._memory[seat : seat + _SEAT.size] = packed + zlib.crc32(packed).to_bytes(4, "little")


class SharedPeers:
    """`breaker.Peers` of one process: those that are attached to `shared`."""

    def __init__(self, shared: SharedState, seat: int | None) -> None:
        self.parts = shared.parts
        self._shared = shared
        self._seat = seat

    def exchange(self, seen: Seen) -> Seen:
        """See `breaker.Peers`."""
        return self._shared.exchange(self._seat, seen)


class SharedLimiter:
    """A `RateLimiter` for all processes that are attached to `shared`: together they send no faster than one would."""

    def __init__(self, shared: SharedState, limiter: RateLimiter) -> None:
        self.shared = shared
        self._limiter = limiter

    def permits(self, wanted: int, now: float) -> int:
        """See `RateLimiter.permits`."""
        with self._turn(now) as limiter:
            return limiter.permits(wanted, now)

    def give_back(self, unused: int, now: float) -> None:
        """See `RateLimiter.give_back`."""
        with self._turn(now) as limiter:
            limiter.give_back(unused, now)

    def wait(self, now: float) -> float:
        """See `RateLimiter.wait`; another process may be first."""
        with self._turn(now) as limiter:
            return limiter.wait(now)

    def close(self, until: float, now: float) -> None:
        """See `RateLimiter.close`: the gate closes for every process."""
        with self._turn(now) as limiter:
            limiter.close(until, now)

    def refused(self, retry_after: float | None, now: float) -> None:
        """See `RateLimiter.refused`."""
        with self._turn(now) as limiter:
            limiter.refused(retry_after, now)

    def closed(self, now: float) -> float:
        """See `RateLimiter.closed`."""
        with self._turn(now) as limiter:
            return limiter.closed(now)

    def allowed_rate(self, now: float) -> float:
        """See `RateLimiter.allowed_rate`; of all processes together."""
        with self._turn(now) as limiter:
            return limiter.allowed_rate(now)

    @contextmanager
    def _turn(self, now: float) -> Iterator[RateLimiter]:
        with self.shared.locked():
            self._limiter.restore(self.shared.load(), now)
            yield self._limiter
            self.shared.store(self._limiter.state())
