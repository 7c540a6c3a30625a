"""The queue on Redis >= 6.2 or Valkey: a stream with a consumer group for chunks, a stream for results.

    {pushcore:NAME}:chunks      entries with the id EPOCH-(NUMBER + 1): Redis rejects a second one
    {pushcore:NAME}:results     entries in the order of arrival, deleted when they are collected
    {pushcore:NAME}:note:KEY    8 bytes of revision, then the value

All keys of a campaign have one hash tag. So they are on one node of a cluster, and `done` is one transaction. An id that was
deleted by XDEL cannot be added again, hence the epochs. Only commands of Redis 6.2, 7 and Valkey are used, and no Lua.
Replies may be RESP2 or RESP3.

A crash can lose what `appendfsync` and replication allow: see docs/guides/queue.md.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from ...errors import ConfigurationError
from ..access import Access
from ..chunk import Chunk
from ..errors import QueueError, QueueRefused, QueueUnavailable
from ..protocol import IDLE, DeliveredResult, Lease, QueueStats, StoredValue, campaign_name
from .redis_replies import REVISION, code, entries, named, note, text
from .redis_urls import CONNECT, client_of

try:
    import redis.asyncio as client_library
    from redis import exceptions as redis_errors
except ImportError:  # pragma: no cover  # the extra is not installed
    if not TYPE_CHECKING:
        client_library = None

GROUP: Final = "workers"
SLICE: Final = 2.0
"""Seconds that one command waits, at most; between commands, expired leases are searched for."""
PAGE: Final = 100
"""Chunks that `present` reads at a time, with their payloads."""
BATCH: Final = 50
"""Chunks in one pipeline: some megabytes."""

_FREE: Final = 1000  # expired leases that `stats` counts, at most
_SCANS: Final = 20  # commands with which `lease` searches for expired leases, of 10 entries each or more


class RedisQueue:
    """A `Broker` on Redis or Valkey. `open` makes one; close it, or use it in `async with`.

    `client`: a `redis.asyncio.Redis` or a cluster client; `close` leaves it open.
    """

    def __init__(
        self,
        client: Any,
        campaign: str,
        *,
        worker: str | None = None,
        idle: float = IDLE,
        name: str = "the Redis server",
    ) -> None:
        if idle < 0.1:
            raise ConfigurationError(f"idle must be at least 0.1 seconds, not {idle:g}")
        self.campaign = campaign_name(campaign)
        self.idle = idle
        self.worker = worker or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._client = client
        self._owned = False
        self._others: list[Any] = []  # clients that are closed together with this one
        self._name = name
        tag = f"{{pushcore:{self.campaign}}}"
        self._chunks, self._results, self._notes = f"{tag}:chunks", f"{tag}:results", f"{tag}:note:"
        self._cursor: Any = "0-0"

    @classmethod
    async def open(
        cls,
        url: str,
        campaign: str,
        *,
        worker: str | None = None,
        idle: float = IDLE,
        access: Access | None = None,
        **options: Any,
    ) -> RedisQueue:
        """Connect to a URL, see `redis_urls`. `worker`: a name that no other process uses; a random one by default. `access`:
        passwords and certificates. `options`: further options of redis-py.

        Raises:
            ConfigurationError: redis-py is not installed, or the URL or the name is invalid.
            QueueError: see `errors`.
        """
        if client_library is None:
            raise ConfigurationError(
                'the queue on Redis needs redis-py, which is not installed; pip install "pushcore[redis]"'
            )
        try:
            client, others, shown = client_of(url, access or Access(), options)
        except ConfigurationError:
            raise
        except ValueError:  # its text may contain a part of the password
            client = None
        if client is None:
            raise ConfigurationError(
                "this is not a URL of a Redis server: its scheme, its host or its port is none"
            )
        queue = cls(client, campaign, worker=worker, idle=idle, name=f"Redis at {shown}")
        queue._others = others
        queue._owned = True
        try:
            async with queue._errors():
                await queue._make_group()
        except TypeError:  # raised by redis-py when it opens its first connection
            raise ConfigurationError(
                "this is not a URL of a Redis server: it has an option that redis-py does not know"
            ) from None
        except BaseException:
            await queue.close()
            raise
        return queue

    async def __aenter__(self) -> RedisQueue:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- chunks ---------------------------------------------------------------------------------------------------

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        """See `WorkQueue.put`."""
        added = 0
        for at in range(0, len(chunks), BATCH):
            async with self._errors():
                pipeline = self._client.pipeline(transaction=False)
                for chunk in chunks[at : at + BATCH]:
                    fields = {"c": chunk.encode(), "t": int(time.time() * 1000)}
                    pipeline.xadd(self._chunks, fields, id=f"{epoch}-{chunk.number + 1}")
                for reply in await pipeline.execute(raise_on_error=False):
                    if not isinstance(reply, Exception):
                        added += 1
                    elif "equal or smaller" not in str(reply):
                        raise reply
        return added

    async def epoch(self) -> int:
        """See `WorkQueue.epoch`."""
        async with self._errors():
            try:
                info = await self._client.xinfo_stream(self._chunks)
            except redis_errors.ResponseError as error:
                if "no such key" in str(error):
                    return 0
                raise
            last = info.get("last-generated-id", info.get(b"last-generated-id", b"0-0"))
            return int(text(last).split("-")[0])

    async def lease(self, n: int, wait: float) -> list[Lease]:
        """See `WorkQueue.lease`."""
        deadline = time.monotonic() + wait
        while True:
            async with self._errors():
                try:
                    leases = await self._reclaim(n)
                    if len(leases) < n:
                        left = 0.0 if leases else deadline - time.monotonic()
                        leases += await self._new(n - len(leases), min(left, SLICE, self.idle / 4))
                except redis_errors.ResponseError as error:
                    if code(error) != "NOGROUP":
                        raise
                    await self._make_group()  # the server has lost the stream
                    continue
            if leases or time.monotonic() >= deadline:
                return leases

    async def _reclaim(self, n: int) -> list[Lease]:
        """Claim expired leases: of workers that died, or of this one."""
        leases: list[Lease] = []
        for _ in range(_SCANS):
            reply = await self._client.xautoclaim(
                self._chunks,
                GROUP,
                self.worker,
                int(self.idle * 1000),
                start_id=self._cursor,
                count=n - len(leases),
            )
            self._cursor = reply[0]
            for entry, fields in reply[1]:
                if entry is None or not fields:
                    continue  # Redis 6.2 lists deleted entries
                about = await self._client.xpending_range(self._chunks, GROUP, entry, entry, 1)
                attempt = about[0]["times_delivered"] if about else 2
                leases.append(_lease(entry, fields, attempt))
            if len(leases) >= n or text(self._cursor) == "0-0":
                break
        return leases

    async def _new(self, n: int, wait: float) -> list[Lease]:
        block = int(wait * 1000)
        reply = await self._client.xreadgroup(
            GROUP, self.worker, {self._chunks: ">"}, count=n, block=block if block > 0 else None
        )
        return [_lease(entry, fields, 1) for entry, fields in entries(reply)]

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `WorkQueue.extend`. The owner may change between the check and the claim, which is harmless."""
        if not leases:
            return []
        async with self._errors():
            try:
                pipeline = self._client.pipeline(transaction=False)
                for lease in leases:
                    pipeline.xpending_range(self._chunks, GROUP, lease.handle, lease.handle, 1, self.worker)
                replies = await pipeline.execute()
                lost = [lease for lease, reply in zip(leases, replies, strict=True) if not reply]
                own = [lease.handle for lease, reply in zip(leases, replies, strict=True) if reply]
                if own:
                    await self._client.xclaim(self._chunks, GROUP, self.worker, 0, own, justid=True)
                return lost
            except redis_errors.ResponseError as error:
                if code(error) == "NOGROUP":
                    return list(leases)
                raise

    async def done(self, lease: Lease, result: bytes) -> None:
        """See `WorkQueue.done`: one transaction."""
        async with self._errors():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.xadd(self._results, {"r": result})
            pipeline.xack(self._chunks, GROUP, lease.handle)
            pipeline.xdel(self._chunks, lease.handle)
            await pipeline.execute()

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        """See `WorkQueue.release`. The entry stays with this consumer, as an expired lease."""
        async with self._errors():
            if await self._client.xpending_range(
                self._chunks, GROUP, lease.handle, lease.handle, 1, self.worker
            ):
                idle = int((self.idle - min(delay, self.idle)) * 1000)
                await self._client.xclaim(
                    self._chunks, GROUP, self.worker, 0, [lease.handle], idle=idle, justid=True
                )

    async def stats(self) -> QueueStats:
        """See `WorkQueue.stats`. Up to 1000 expired or released leases are counted as waiting."""
        async with self._errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.xlen(self._chunks)
            pipeline.xpending(self._chunks, GROUP)
            pipeline.xpending_range(self._chunks, GROUP, "-", "+", _FREE, idle=int(self.idle * 1000))
            pipeline.xlen(self._results)
            pipeline.xrange(self._chunks, count=1)
            there, pending, free, results, first = await pipeline.execute(raise_on_error=False)
            for reply in (there, results, first):
                if isinstance(reply, Exception):
                    raise reply
            if isinstance(pending, Exception):
                if code(pending) != "NOGROUP":
                    raise pending
                pending, free = {"pending": 0}, []
            leased = pending["pending"] - len(free)
            leased = min(max(leased, 0), there)  # Redis may still count deleted entries
            since = int(first[0][1].get(b"t", b"0")) / 1000 if first and first[0][1] else 0.0
            oldest = max(time.time() - since, 0.0) if since else 0.0
            return QueueStats(there - leased, leased, results, oldest)

    # --- results --------------------------------------------------------------------------------------------------

    async def report(self, result: bytes, nonce: str) -> None:
        """See `Outbox.report`."""
        async with self._errors():
            await self._client.xadd(self._results, {"r": result})

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        """See `Outbox.results`."""
        deadline = time.monotonic() + wait
        while True:
            block = int(min(deadline - time.monotonic(), SLICE) * 1000)
            async with self._errors():
                reply = await self._client.xread(
                    {self._results: "0"}, count=n, block=block if block > 0 else None
                )
            results = [DeliveredResult(fields.get(b"r", b""), entry) for entry, fields in entries(reply)]
            if results or time.monotonic() >= deadline:
                return results

    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        """See `Outbox.collected`."""
        if results:
            async with self._errors():
                await self._client.xdel(self._results, *(result.handle for result in results))

    async def present(self) -> set[int]:
        """See `Outbox.present`. Reads the whole stream, in pages."""
        numbers: set[int] = set()
        start = "-"
        while True:
            async with self._errors():
                page = await self._client.xrange(self._chunks, min=start, count=PAGE)
            for entry, _ in page:
                numbers.add(int(text(entry).split("-")[1]) - 1)
            if len(page) < PAGE:
                return numbers
            start = f"({text(page[-1][0])}"

    # --- store ----------------------------------------------------------------------------------------------------

    async def read(self, name: str) -> StoredValue:
        """See `Store.read`."""
        async with self._errors():
            return note(await self._client.get(self._notes + name))

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        """See `Store.write`."""
        key = self._notes + name
        async with self._errors(), self._client.pipeline(transaction=True) as pipeline:
            await pipeline.watch(key)
            if note(await pipeline.get(key)).revision != revision:
                return False
            pipeline.multi()
            pipeline.set(key, (revision + 1).to_bytes(REVISION, "big") + value)
            try:
                await pipeline.execute()
            except redis_errors.WatchError:
                return False
            return True

    # --- opening and closing --------------------------------------------------------------------------------------

    async def close(self) -> None:
        """See `Broker.close`. A consumer without leases is deleted."""
        try:
            async with asyncio.timeout(CONNECT), self._errors():
                if not await self._client.xpending_range(self._chunks, GROUP, "-", "+", 1, self.worker):
                    await self._client.xgroup_delconsumer(self._chunks, GROUP, self.worker)
        except (QueueError, TimeoutError):
            pass  # an unused consumer does no harm
        if self._owned:
            # the name in redis-py 5.0, which later versions still have
            for client in (self._client, *self._others):
                await client.aclose()

    async def destroy(self) -> None:
        """See `Broker.destroy`."""
        async with self._errors():
            keys = [self._chunks, self._results]
            pattern = re.sub(r"([\[\]*?\\])", r"\\\1", self._notes) + "*"
            keys += [key async for key in self._client.scan_iter(match=pattern, count=1000)]
            for key in keys:
                await self._client.delete(key)

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._chunks, GROUP, id="0", mkstream=True)
        except redis_errors.ResponseError as error:
            if code(error) != "BUSYGROUP":
                raise

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Raise exceptions of redis-py as `QueueError`s. Their texts may quote a whole command, so only the code is used."""
        try:
            yield
        except (redis_errors.AuthenticationError, redis_errors.AuthorizationError) as error:
            raise QueueRefused(
                f"{self._name} rejects the credentials: {code(error) or 'wrong password'}"
            ) from None
        except (
            redis_errors.ConnectionError,
            redis_errors.TimeoutError,
            redis_errors.RedisClusterException,  # not a RedisError: no node is reachable, or a slot has no node
            OSError,
        ) as error:
            raise QueueUnavailable(f"{self._name} cannot be reached ({type(error).__name__})") from None
        except redis_errors.RedisError as error:
            raise named(error, self._name) from None


def _lease(entry: Any, fields: dict[Any, Any], attempt: int) -> Lease:
    return Lease(fields.get(b"c", b""), attempt, entry)
