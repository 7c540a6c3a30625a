"""`Idempotency-Key`: a repeated request gets the response of the first, and nothing is sent again.

A key is valid for one caller, one route and one body (draft-ietf-httpapi-idempotency-key-header): another body gets 422, a repeat at
the same time waits. A request is recorded before anything is sent. If a record is never completed, its instance has died: the response
to a repeat says that everything may have been delivered.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from .callers import Caller
from .fields import field_of
from .problems import GatewayProblem
from .senders import REQUEST

HEADER: Final = b"idempotency-key"
KEPT: Final = 600.0
"""Seconds for which a response is kept."""
LOST: Final = REQUEST + 5.0
"""Seconds after which what was begun and not completed is of an instance that has died."""
MOST_RECORDS: Final = 100_000
MOST_BYTES: Final = 64 * 1024 * 1024
"""Records and bytes that are kept in memory; the oldest completed ones are forgotten first."""
POLL: Final = 0.1
"""Seconds between two looks at what another instance has begun."""
_KEY: Final = re.compile(rb"[\x21-\x7e]{1,255}")
_STARTED, _COMPLETED = b"S", b"R"
_DIGEST: Final = 32
_TYPES: Final = (b"application/json", b"application/problem+json")

Produce = Callable[[], Awaitable[Response]]
Record = bytes
"""The kind, the digest of the body, then the time of the beginning, or the response."""


class RecordStore(Protocol):
    """The interface of a store of records, which keeps them for `KEPT` seconds."""

    async def begin(self, key: bytes, record: Record) -> Record | None:
        """Keep a record and return None, or return the record that is there already."""

    async def look(self, key: bytes) -> Record | None:
        """The record."""

    async def complete(self, key: bytes, record: Record) -> None:
        """Replace a record."""

    async def forget(self, key: bytes) -> None:
        """Delete the record of this key."""

    async def close(self) -> None:
        """Close the connections."""


class MemoryRecords:
    """A `RecordStore` for one instance, with a limit of records and bytes.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: OrderedDict[bytes, tuple[float, Record]] = OrderedDict()
        self._bytes = 0

    async def begin(self, key: bytes, record: Record) -> Record | None:
        """See `RecordStore`."""
        found = await self.look(key)
        if found is None:
            self._put(key, record)
        return found

    async def look(self, key: bytes) -> Record | None:
        """See `RecordStore`."""
        self._expire()
        found = self._records.get(key)
        return None if found is None else found[1]

    async def complete(self, key: bytes, record: Record) -> None:
        """See `RecordStore`."""
        await self.forget(key)
        self._put(key, record)

    async def forget(self, key: bytes) -> None:
        """See `RecordStore`."""
        found = self._records.pop(key, None)
        if found is not None:
            self._bytes -= len(found[1])

    async def close(self) -> None:
        """See `RecordStore`."""

    def _put(self, key: bytes, record: Record) -> None:
        self._records[key] = self._clock() + KEPT, record
        self._bytes += len(record)
        if len(self._records) > MOST_RECORDS or self._bytes > MOST_BYTES:
            self._make_room(key)

    def _make_room(self, newest: bytes) -> None:
        """Delete the oldest completed records; records in progress are few, because callers have limits."""
        too_many, too_large = len(self._records) - MOST_RECORDS, self._bytes - MOST_BYTES
        victims = []
        for key, (_, record) in self._records.items():
            if too_many <= 0 and too_large <= 0:
                break
            if record[:1] == _COMPLETED and key != newest:
                victims.append(key)
                too_many, too_large = too_many - 1, too_large - len(record)
        for key in victims:
            self._bytes -= len(self._records.pop(key)[1])

    def _expire(self) -> None:
        now = self._clock()
        while self._records:
            key, (until, record) = next(iter(self._records.items()))
            if until > now:
                return
            del self._records[key]
            self._bytes -= len(record)


class RedisRecords:
    """A `RecordStore` that several instances share.

    Args:
        client: a `redis.asyncio.Redis`; closed with this.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    async def begin(self, key: bytes, record: Record) -> Record | None:
        """See `RecordStore`. Raises `GatewayProblem` 503 when Redis cannot be asked."""
        for _ in range(3):
            if await self._ask(self._client.set(_name(key), record, nx=True, ex=round(KEPT))):
                return None
            found = await self.look(key)
            if found is not None:
                return found
        raise _unavailable()

    async def look(self, key: bytes) -> Record | None:
        """See `RecordStore`. Raises `GatewayProblem` 503 when Redis cannot be asked."""
        found: Record | None = await self._ask(self._client.get(_name(key)))
        return found

    async def complete(self, key: bytes, record: Record) -> None:
        """See `RecordStore`. If Redis cannot be reached, the record does not change, and a repeat gets UNKNOWN."""
        await self._try(self._client.set(_name(key), record, ex=round(KEPT)))

    async def forget(self, key: bytes) -> None:
        """See `RecordStore`."""
        await self._try(self._client.delete(_name(key)))

    async def close(self) -> None:
        """See `RecordStore`."""
        await self._client.aclose()

    async def _ask(self, command: Awaitable[Any]) -> Any:
        from redis.exceptions import RedisError  # of an extra

        try:
            return await command
        except (RedisError, OSError, TimeoutError):
            raise _unavailable() from None

    async def _try(self, command: Awaitable[Any]) -> None:
        try:
            await self._ask(command)
        except GatewayProblem:
            return


def _name(key: bytes) -> str:
    return f"pushcore:gateway:request:{key.hex()}"


def _unavailable() -> GatewayProblem:
    detail = "the store of idempotency keys is unreachable; nothing was sent"
    return GatewayProblem(503, "store", detail, retry_after=1)


class Idempotency:
    """See the module.

    Args:
        store: keeps the records.
        clock: UNIX seconds, the same for all instances.
    """

    def __init__(self, store: RecordStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def respond(
        self, caller: Caller, request: Request, body: bytes, produce: Produce, lost: Callable[[], Response]
    ) -> Response:
        """The response of `produce`, or of the request that this one repeats.

        Args:
            caller: of the key.
            request: with the header; without the header only `produce` is called.
            body: of the request.
            produce: does the work. If it raises a `GatewayProblem`, nothing was sent, and the key is free again.
            lost: makes the response for a request whose instance died: everything is UNKNOWN.

        Raises:
            GatewayProblem: the key is malformed, of another body, or the store is unreachable.
        """
        name = field_of(request, HEADER)
        if name is None:
            return await produce()
        if not _KEY.fullmatch(name):
            raise GatewayProblem(
                400, "idempotency-key", "expected an Idempotency-Key of 1 to 255 visible ASCII characters"
            )
        key = sha256(b"\0".join((caller.name.encode(), request.url.path.encode(), name))).digest()
        digest = sha256(body).digest()
        while True:
            while (other := self._waiting.get(key)) is not None:
                await asyncio.shield(other)
            mine = self._waiting[key] = asyncio.get_running_loop().create_future()
            try:
                response = await self._respond(key, digest, produce, lost)
            finally:
                del self._waiting[key]
                mine.set_result(None)
            if response is not None:
                return response
            await asyncio.sleep(POLL)

    async def _respond(
        self, key: bytes, digest: bytes, produce: Produce, lost: Callable[[], Response]
    ) -> Response | None:
        """The response; None while another instance makes it."""
        found = await self._store.begin(key, _STARTED + digest + b"%.3f" % self._clock())
        if found is None:
            try:
                response = await produce()
            except GatewayProblem:
                await self._store.forget(key)
                raise
            await self._store.complete(key, _COMPLETED + digest + _packed(response))
            return response
        kind, of_body, rest = found[:1], found[1 : 1 + _DIGEST], found[1 + _DIGEST :]
        if of_body != digest:
            raise GatewayProblem(422, "idempotency-key", "this Idempotency-Key was used with another body")
        if kind == _COMPLETED:
            return _unpacked(rest)
        if self._clock() - float(rest) < LOST:
            return None
        response = lost()
        await self._store.complete(key, _COMPLETED + digest + _packed(response))
        return response


def _packed(response: Response) -> bytes:
    kind = next(
        (
            index
            for index, name in enumerate(_TYPES)
            if response.headers.get("content-type", "").encode() == name
        ),
        0,
    )
    return b"%03d%d" % (response.status_code, kind) + bytes(response.body)


def _unpacked(data: bytes) -> Response:
    response = Response(data[4:], int(data[:3]), media_type=_TYPES[int(data[3:4])].decode())
    response.headers["idempotent-replayed"] = "true"
    return response
