"""The queue on NATS JetStream: one work-queue stream with a pull consumer for chunks, one for results, and a bucket.

    stream pushcore-NAME            subjects pushcore.NAME.chunk.NUMBER, one message each: a second one is rejected
    stream pushcore-NAME-results    subject pushcore.NAME.result
    bucket pushcore-NAME            the store

`done` has two steps here: the result is published; after the server has confirmed it, the chunk is acknowledged. If the
worker is killed in between, the chunk is delivered again. Messages have a `Nats-Msg-Id`, so that a message that is published
again within `DEDUPE` seconds is stored once.

By default JetStream writes to the disk every two minutes (`sync_interval`): see docs/guides/queue.md.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ...redaction import split_address
from ..access import Access
from ..chunk import Chunk
from ..errors import ChunkError, QueueRefused, QueueUnavailable
from ..protocol import IDLE, NOTHING, DeliveredResult, Lease, QueueStats, StoredValue, campaign_name
from .nats_wire import (
    ANSWER,
    INSTALLED,
    PROMPT,
    NatsHandle,
    SubjectFull,
    age,
    connect,
    handle_of,
    let_go,
    named,
    pull,
    stream_info,
)

try:
    from nats import errors as nats_errors
    from nats.js import api
    from nats.js import errors as js_errors
except ImportError:  # pragma: no cover  # the extra is not installed, and `open` says so
    pass

DEDUPE: Final = 3600.0
"""Seconds for which NATS remembers a message id; its default is 120, which is shorter than some outages."""
LEASES: Final = 65_536
"""Chunks that may be leased at a time; the default of NATS is 1000."""
AT_ONCE: Final = 64
"""Messages that are published or acknowledged at a time."""
CHUNKS, RESULTS = "workers", "ledger"  # the consumers

_NOT_ALLOWED: Final = "permissions violation"
_WRONG_REVISION: Final = frozenset({10071, 10164})


class NatsQueue:
    """A `Broker` on NATS JetStream. `open` makes one; close it, or use it in `async with`.

    `connection`: a connected `nats.NATS`; `close` leaves it open. `replicas`: the number of servers of a cluster that keep a
    copy, 3 or 5. `idle`: all workers use the value of the first one that opened the campaign.
    """

    def __init__(
        self,
        connection: Any,
        campaign: str,
        *,
        idle: float = IDLE,
        replicas: int = 1,
        name: str = "the NATS server",
    ) -> None:
        if idle < 0.1:
            raise ConfigurationError(f"idle must be at least 0.1 seconds, not {idle:g}")
        self.campaign = campaign_name(campaign)
        self.idle = idle
        self._replicas = replicas
        self._connection = connection
        self._owned = False
        self._name = name
        self._js = connection.jetstream(timeout=ANSWER)
        self._stream = f"pushcore-{self.campaign}"
        self._subject = f"pushcore.{self.campaign}"
        self._bucket: Any = None

    @classmethod
    async def open(
        cls,
        url: str,
        campaign: str,
        *,
        idle: float = IDLE,
        replicas: int = 1,
        access: Access | None = None,
        **options: Any,
    ) -> NatsQueue:
        """Connect to a `nats://` or `tls://` URL, or several separated by commas. `?replicas=3` at the end keeps copies on three
        servers of a cluster. `access`: password and certificates. `options`: further options of nats-py.

        Raises:
            ConfigurationError: nats-py is not installed, or the URL or the name is invalid.
            QueueError: see `errors`.
        """
        if not INSTALLED:
            raise ConfigurationError(
                'the queue on NATS needs nats-py, which is not installed; pip install "pushcore[nats]"'
            )
        url, replicas = _replicas(url, replicas)
        servers = [server if "://" in server else f"nats://{server}" for server in url.split(",")]
        parts = [part for part in map(split_address, servers) if part is not None]
        if len(parts) < len(servers):
            raise ConfigurationError(
                "this is not a URL of a NATS server: its host or its port cannot be read"
            )
        if not all(part.hostname for part in parts):
            raise ConfigurationError("this is not a URL of a NATS server: it has no host")
        shown = ", ".join(f"{part.hostname}:{part.port or 4222}" for part in parts)
        if access is not None:
            servers, options = _with_access(servers, access, options)
        connection = await connect(servers, shown, options)
        queue = cls(connection, campaign, idle=idle, replicas=replicas, name=f"NATS at {shown}")
        queue._owned = True
        try:
            async with queue._errors():
                await queue._make()
        except BaseException:
            await queue.close()
            raise
        return queue

    async def __aenter__(self) -> NatsQueue:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- chunks ---------------------------------------------------------------------------------------------------

    async def put(self, chunks: Sequence[Chunk], epoch: int = 0) -> int:
        """See `WorkQueue.put`."""
        added = 0
        for at in range(0, len(chunks), AT_ONCE):
            some = chunks[at : at + AT_ONCE]
            added += sum(await asyncio.gather(*(self._put(chunk, epoch) for chunk in some)))
        return added

    async def _put(self, chunk: Chunk, epoch: int) -> bool:
        subject = f"{self._subject}.chunk.{chunk.number}"
        try:
            return await self._publish(subject, chunk.encode(), f"{chunk.number}/{epoch}")
        except SubjectFull:
            return False  # it has been put before
        except ChunkError as error:
            raise ChunkError(
                f"chunk {chunk.number} has {chunk.rows} rows, which are too many: {error}"
            ) from None

    async def _publish(self, subject: str, data: bytes, message_id: str) -> bool:
        """Publish and wait until the server has stored it. False if it had this id already."""
        async with self._errors():
            try:
                kept = await self._keep(subject, data, message_id)
            except js_errors.NoStreamResponseError:
                await self._make()  # the server has lost the stream
                kept = await self._keep(subject, data, message_id)
            return not kept.duplicate

    async def _keep(self, subject: str, data: bytes, message_id: str) -> Any:
        headers = {"Nats-Msg-Id": message_id}
        return await self._js.publish(subject, data, timeout=ANSWER, headers=headers)

    async def epoch(self) -> int:
        """See `WorkQueue.epoch`. A subject shows whether a chunk is there, so any epoch is right."""
        return 0

    async def lease(self, n: int, wait: float) -> list[Lease]:
        """See `WorkQueue.lease`."""
        messages = await self._pull(self._stream, CHUNKS, n, wait)
        return [
            Lease(message.data, message.metadata.num_delivered, handle_of(message)) for message in messages
        ]

    async def extend(self, leases: Sequence[Lease]) -> list[Lease]:
        """See `WorkQueue.extend`. NATS does not say whether a lease has been lost."""
        if leases:
            async with self._errors():
                for lease in leases:
                    await self._connection.publish(lease.handle.reply, b"+WPI")
                # If a restart of the server has lost a response, the next `extend` must still be sent in time.
                await self._connection.flush(timeout=min(self.idle / 4, ANSWER))
        return []

    async def done(self, lease: Lease, result: bytes) -> None:
        """See `WorkQueue.done`: first the result is stored, then the chunk is removed."""
        await self._publish(f"{self._subject}.result", result, f"done/{lease.nonce}")
        await self._acknowledge(self._stream, [lease.handle])

    async def release(self, lease: Lease, delay: float = 0.0) -> None:
        """See `WorkQueue.release`."""
        async with self._errors():
            wait = json.dumps({"delay": int(min(delay, self.idle) * 1e9)}).encode()
            await self._connection.publish(lease.handle.reply, b"-NAK " + wait if delay > 0 else b"-NAK")
            await self._connection.flush(timeout=ANSWER)

    async def stats(self) -> QueueStats:
        """See `WorkQueue.stats`."""
        async with self._errors():
            chunks = await stream_info(self._connection, self._stream)
            results = await stream_info(self._connection, f"{self._stream}-results")
            if chunks is None:
                return QueueStats(0, 0, 0, 0.0)
            try:
                consumer = await self._js.consumer_info(self._stream, CHUNKS)
                leased = consumer.num_ack_pending or 0
            except js_errors.NotFoundError:
                leased = 0
            there = chunks["state"]["messages"]
            leased = min(leased, there)
            oldest = age(chunks["state"]["first_ts"]) if there else 0.0
            return QueueStats(there - leased, leased, results["state"]["messages"] if results else 0, oldest)

    # --- results --------------------------------------------------------------------------------------------------

    async def report(self, result: bytes, nonce: str) -> None:
        """See `Outbox.report`."""
        await self._publish(f"{self._subject}.result", result, f"part/{nonce}")

    async def results(self, n: int, wait: float) -> list[DeliveredResult]:
        """See `Outbox.results`. Results that are not collected are returned again after `idle` seconds."""
        messages = await self._pull(f"{self._stream}-results", RESULTS, n, wait)
        return [DeliveredResult(message.data, handle_of(message)) for message in messages]

    async def collected(self, results: Sequence[DeliveredResult]) -> None:
        """See `Outbox.collected`."""
        await self._acknowledge(f"{self._stream}-results", [result.handle for result in results])

    async def present(self) -> set[int]:
        """See `Outbox.present`. The server lists the subjects, without the messages."""
        numbers: set[int] = set()
        while True:
            async with self._errors():
                info = await stream_info(
                    self._connection,
                    self._stream,
                    {"subjects_filter": f"{self._subject}.chunk.*", "offset": len(numbers)},
                )
            subjects = (info["state"].get("subjects") or {}) if info is not None else {}
            new = {
                int(subject.rsplit(".", 1)[1])
                for subject in subjects
                if subject.rsplit(".", 1)[1].isdecimal()
            }
            if new <= numbers:
                return numbers
            numbers |= new
            if info is not None and len(numbers) >= info.get("total", 0):
                return numbers

    # --- store ----------------------------------------------------------------------------------------------------

    async def read(self, name: str) -> StoredValue:
        """See `Store.read`."""
        async with self._errors():
            for _ in range(2):
                bucket = await self._store()
                try:
                    entry = await bucket.get(name)
                    return StoredValue(entry.value or b"", entry.revision)
                except js_errors.KeyNotFoundError:
                    return NOTHING
                except (js_errors.NotFoundError, js_errors.BucketNotFoundError):
                    self._bucket = None
            return NOTHING

    async def write(self, name: str, value: bytes, revision: int) -> bool:
        """See `Store.write`."""
        async with self._errors():
            try:
                return await self._set(name, value, revision)
            except js_errors.NoStreamResponseError:
                self._bucket = None  # the server has lost it
                return await self._set(name, value, revision)

    async def _set(self, name: str, value: bytes, revision: int) -> bool:
        bucket = await self._store()
        try:
            if revision:
                await bucket.update(name, value, last=revision)
            else:
                await bucket.create(name, value)
        except js_errors.KeyWrongLastSequenceError:
            return False
        except js_errors.APIError as error:
            if error.err_code in _WRONG_REVISION:
                return False
            raise
        return True

    async def _store(self) -> Any:
        if self._bucket is None:
            try:
                self._bucket = await self._js.key_value(self._stream)
            except js_errors.NotFoundError:
                self._bucket = await self._js.create_key_value(
                    api.KeyValueConfig(bucket=self._stream, history=1, replicas=self._replicas)
                )
        return self._bucket

    # --- opening and closing --------------------------------------------------------------------------------------

    async def close(self) -> None:
        """See `Broker.close`."""
        if self._owned:
            with suppress(nats_errors.Error, OSError):
                await self._connection.close()

    async def destroy(self) -> None:
        """See `Broker.destroy`."""
        self._bucket = None
        async with self._errors():
            for stream in (self._stream, f"{self._stream}-results", f"KV_{self._stream}"):
                with suppress(js_errors.NotFoundError):
                    await self._js.delete_stream(stream)

    async def _make(self) -> None:
        """Create streams and consumers that do not exist."""
        await self._make_stream(
            api.StreamConfig(
                name=self._stream,
                subjects=[f"{self._subject}.chunk.*"],
                max_msgs_per_subject=1,
                discard=api.DiscardPolicy.NEW,
                discard_new_per_subject=True,
            )
        )
        await self._make_stream(
            api.StreamConfig(
                name=f"{self._stream}-results",
                subjects=[f"{self._subject}.result"],
                discard=api.DiscardPolicy.NEW,
            )
        )
        for stream, consumer in ((self._stream, CHUNKS), (f"{self._stream}-results", RESULTS)):
            try:
                info = await self._js.consumer_info(stream, consumer)
            except js_errors.NotFoundError:
                info = await self._js.add_consumer(
                    stream,
                    api.ConsumerConfig(
                        durable_name=consumer,
                        ack_policy=api.AckPolicy.EXPLICIT,
                        ack_wait=self.idle,
                        max_ack_pending=LEASES,
                        max_deliver=-1,
                    ),
                )
            if consumer == CHUNKS and info.config.ack_wait:
                self.idle = float(info.config.ack_wait)

    async def _make_stream(self, config: Any) -> None:
        config.retention = api.RetentionPolicy.WORK_QUEUE
        config.storage = api.StorageType.FILE
        config.duplicate_window = DEDUPE
        config.num_replicas = self._replicas
        if await stream_info(self._connection, config.name) is None:
            await self._js.add_stream(config)

    async def _pull(self, stream: str, consumer: str, n: int, wait: float) -> list[Any]:
        """Pull up to `n` messages; if there is none, wait for one. nats-py's `fetch` is not used: it may return messages of others."""
        async with self._errors():
            messages = await self._ask(stream, consumer, {"batch": n, "no_wait": True}, PROMPT)
            if not messages and wait > 0:
                question = {"batch": 1, "expires": int(wait * 1e9)}
                messages = await self._ask(stream, consumer, question, wait + PROMPT)
            return messages

    async def _ask(self, stream: str, consumer: str, question: dict[str, Any], patience: float) -> list[Any]:
        messages = await pull(self._connection, f"{stream}.{consumer}", question, patience)
        if messages is None:  # the server does not respond if there is no such consumer
            await self._make()
        return messages or []

    async def _acknowledge(self, stream: str, messages: Sequence[NatsHandle]) -> None:
        """Acknowledge the messages, and wait until the server has confirmed that they are removed."""
        for at in range(0, len(messages), AT_ONCE):
            async with self._errors():
                await asyncio.gather(
                    *(let_go(self._connection, stream, message) for message in messages[at : at + AT_ONCE])
                )

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        """Raise exceptions of nats-py as `QueueError`s."""
        if not self._connection.is_connected:
            raise QueueUnavailable(f"{self._name} cannot be reached; trying again")
        heard = self._connection.last_error
        try:
            yield
        except nats_errors.MaxPayloadError:
            limit = self._connection.max_payload
            raise ChunkError(
                f"{self._name} accepts at most {limit} bytes per message (max_payload)"
            ) from None
        except js_errors.APIError as error:
            raise named(error, self._name) from None
        except (nats_errors.AuthorizationError, nats_errors.NoRespondersError) as error:
            if isinstance(error, nats_errors.NoRespondersError):
                raise QueueUnavailable(f"{self._name} has no JetStream, or it is not ready yet") from None
            raise QueueRefused(f"{self._name} does not permit this") from None
        except (TimeoutError, nats_errors.Error, js_errors.Error, OSError) as error:
            why = self._connection.last_error
            # Never a valid response to these requests.
            if why is not heard and _NOT_ALLOWED in str(why).lower():
                raise QueueRefused(f"{self._name} does not permit this ({str(why)[:200]})") from None
            raise QueueUnavailable(f"{self._name} cannot be reached ({type(error).__name__})") from None


def _replicas(url: str, replicas: int) -> tuple[str, int]:
    """The URL without its query, and the number of replicas."""
    url, mark, query = url.partition("?")
    if not mark:
        return url, replicas
    name, _, value = query.partition("=")
    if name != "replicas" or value not in ("1", "2", "3", "4", "5"):
        raise ConfigurationError("the only option of a NATS URL is replicas=N, N from 1 to 5")
    return url, int(value)


def _with_access(
    servers: list[str], access: Access, options: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """The servers and nats-py's options, with the credentials."""
    settings = dict(options)
    parts = [urlsplit(server) for server in servers]
    if access.tls(any(part.scheme == "tls" for part in parts)):
        try:
            settings["tls"] = context = ssl.create_default_context(cafile=access.ca_file)
            if access.cert_file is not None:
                context.load_cert_chain(access.cert_file, access.key_file)
        except ssl.SSLError:
            raise ConfigurationError(
                "the queue's PEM files cannot be used; expected CA certificates, and a certificate with its key"
            ) from None
    if access.password is not None:
        user = parts[0].username
        settings |= (
            {"token": access.password} if user is None else {"user": user, "password": access.password}
        )
        servers = [part._replace(netloc=part.netloc.rpartition("@")[2]).geturl() for part in parts]
    return servers, settings
