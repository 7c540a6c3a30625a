"""NATS JetStream in memory, with the few calls of nats-py that the queue makes. It uses the loop's clock, virtual or not.

It does what a server of 2.15 does as far as the queue can see: work-queue streams with one message per subject, message ids, pull
consumers with leases, and buckets with revisions. tests/e2e/queue/test_conformance.py holds the queue against a real one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from nats import errors as nats_errors
from nats.js import api
from nats.js import errors as js_errors

_TOO_MANY = {"code": 400, "err_code": 10077, "description": "maximum messages per subject exceeded"}
_NO_STREAM = {"code": 404, "err_code": 10059, "description": "stream not found"}


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Kept:
    """A message in a stream."""

    subject: str
    data: bytes
    deliveries: int = 0
    free_at: float = 0.0


@dataclass
class Pull:
    """The pull requests of a consumer that are not filled yet."""

    inbox: asyncio.Queue[Any]
    wanted: int


@dataclass
class Consumer:
    config: Any
    pulls: list[Pull] = field(default_factory=list)
    pending: set[int] = field(default_factory=set)


@dataclass
class NatsStream:
    config: Any
    messages: dict[int, Kept] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    consumers: dict[str, Consumer] = field(default_factory=dict)
    last: int = 0


class JetStream:
    """The server. `page`: subjects that it tells at a time."""

    def __init__(self, page: int = 100_000) -> None:
        self.streams: dict[str, NatsStream] = {}
        self.buckets: dict[str, dict[str, tuple[bytes, int]]] = {}
        self.inboxes: dict[str, asyncio.Queue[Any]] = {}
        self.page = page
        self.count = 0
        self.silent = False
        """Whether it leaves acknowledgements without a reply, as it does after it was killed."""

    def next(self) -> int:
        """A number that was never used."""
        self.count += 1
        return self.count

    def stream_of(self, subject: str) -> NatsStream | None:
        """The stream that has a subject."""
        for stream in self.streams.values():
            if any(subject.startswith(pattern.rstrip("*")) for pattern in stream.config.subjects):
                return stream
        return None

    def keep(self, subject: str, data: bytes, message_id: str) -> bool:
        """Add a message; False if its id was there before."""
        stream = self.stream_of(subject)
        if stream is None:
            raise js_errors.NoStreamResponseError
        if message_id in stream.ids:
            return False
        if stream.config.discard_new_per_subject and any(
            kept.subject == subject for kept in stream.messages.values()
        ):
            raise js_errors.APIError.from_error(_TOO_MANY)
        stream.ids.add(message_id)
        stream.last += 1
        stream.messages[stream.last] = Kept(subject, data)
        self.give_out(stream)
        return True

    def give_out(self, stream: NatsStream) -> None:
        """Deliver free messages to the waiting consumers."""
        for name, consumer in stream.consumers.items():
            for pull in list(consumer.pulls):
                for number, kept in stream.messages.items():
                    if pull.wanted and kept.free_at <= now():
                        kept.deliveries += 1
                        consumer.pending.add(number)
                        self.hold(stream, kept, consumer.config.ack_wait)
                        reply = f"$JS.ACK.{stream.config.name}.{name}.{number}"
                        pull.inbox.put_nowait(message(kept.data, reply, kept.deliveries, number))
                        pull.wanted -= 1
                if not pull.wanted:
                    consumer.pulls.remove(pull)

    def hold(self, stream: NatsStream, kept: Kept, seconds: float) -> None:
        """Hold a message for this long."""
        kept.free_at = now() + seconds
        asyncio.get_running_loop().call_later(seconds, self.give_out, stream)

    def ask(self, inbox: asyncio.Queue[Any], subject: str, question: Mapping[str, Any]) -> None:
        """A pull; where there is no such consumer nothing is said."""
        _, _, _, _, _, stream_name, name = subject.split(".")
        stream = self.streams.get(stream_name)
        consumer = stream.consumers.get(name) if stream is not None else None
        if stream is None or consumer is None:
            return
        pull = Pull(inbox, question["batch"])
        consumer.pulls.append(pull)
        self.give_out(stream)
        if question.get("no_wait"):
            self.give_up(consumer, pull, "404")
        else:
            seconds = question["expires"] / 1e9
            inbox.put_nowait(status("100"))
            asyncio.get_running_loop().call_later(seconds, self.give_up, consumer, pull, "408")

    def give_up(self, consumer: Consumer, pull: Pull, code: str) -> None:
        """Say that there is no more."""
        if pull in consumer.pulls:
            consumer.pulls.remove(pull)
            pull.inbox.put_nowait(status(code))

    def acknowledge(self, subject: str, data: bytes) -> None:
        """What a worker says of a message that it has."""
        _, _, stream_name, name, number = subject.split(".")
        stream = self.streams.get(stream_name)
        kept = stream.messages.get(int(number)) if stream is not None else None
        if stream is None or kept is None:
            return
        consumer = stream.consumers[name]
        if data == b"+WPI":
            self.hold(stream, kept, consumer.config.ack_wait)
        elif data == b"+ACK":
            del stream.messages[int(number)]
            consumer.pending.discard(int(number))
        else:
            consumer.pending.discard(int(number))
            self.hold(stream, kept, json.loads(data[5:])["delay"] / 1e9 if data[5:] else 0.0)
            self.give_out(stream)

    def describe(self, name: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """A stream as the API tells it."""
        stream = self.streams.get(name)
        if stream is None:
            return {"error": _NO_STREAM}
        first = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        state: dict[str, Any] = {"messages": len(stream.messages), "first_ts": first}
        subjects = [kept.subject for kept in stream.messages.values()]
        if "subjects_filter" in question:
            offset = question["offset"]
            state["subjects"] = dict.fromkeys(subjects[offset : offset + self.page], 1) or None
        return {"state": state, "total": len(subjects)}

    def delete(self, name: str, number: int) -> dict[str, Any]:
        """Delete one message."""
        if self.streams[name].messages.pop(number, None) is None:
            return {"error": {"code": 400, "err_code": 10043, "description": f"sequence {number} not found"}}
        return {"success": True}


def message(data: bytes, reply: str, deliveries: int, number: int) -> Any:
    """A message as nats-py gives it."""
    metadata = SimpleNamespace(num_delivered=deliveries, sequence=SimpleNamespace(stream=number))
    return SimpleNamespace(data=data, headers={"Nats-Msg-Id": "x"}, reply=reply, metadata=metadata)


def status(code: str) -> Any:
    """A message without data that says how a pull stands."""
    return SimpleNamespace(data=b"", headers={"Status": code})


class NatsConnection:
    """The interface of `nats.NATS`. `errors`: by the name of a call, what its next calls raise; None lets one through."""

    def __init__(self, server: JetStream) -> None:
        self.server = server
        self.errors: dict[str, list[Exception | None]] = {}
        self.is_connected = True
        self.last_error: Exception | None = None
        self.max_payload = 1 << 20
        self.closed = 0

    def may(self, call: str) -> None:
        """Raise the error that a test has set for this call."""
        error = self.errors[call].pop(0) if self.errors.get(call) else None
        if error is not None:
            raise error

    def jetstream(self, timeout: float) -> JetStreamCalls:
        return JetStreamCalls(self)

    def new_inbox(self) -> str:
        return f"_INBOX.{self.server.next()}"

    async def subscribe(self, inbox: str) -> Inbox:
        self.may("subscribe")
        return Inbox(self.server, inbox)

    async def publish(self, subject: str, data: bytes, reply: str = "") -> None:
        self.may("publish")
        if reply:
            self.server.ask(self.server.inboxes[reply], subject, json.loads(data))
        else:
            self.server.acknowledge(subject, data)

    async def flush(self, timeout: float) -> None:
        self.may("flush")

    async def request(self, subject: str, data: bytes, timeout: float) -> Any:
        self.may("request")
        if subject.startswith("$JS.ACK."):
            if self.server.silent:
                raise nats_errors.TimeoutError
            self.server.acknowledge(subject, data)
            return SimpleNamespace(data=b"")
        _, _, _, *verb, name = subject.split(".")
        question = json.loads(data)
        if verb == ["INFO"]:
            answer = self.server.describe(name, question)
        else:
            answer = self.server.delete(name, question["seq"])
        return SimpleNamespace(data=json.dumps(answer).encode())

    async def close(self) -> None:
        self.closed += 1
        self.is_connected = False
        self.may("close")


class Inbox:
    """What comes to an inbox."""

    def __init__(self, server: JetStream, inbox: str) -> None:
        self.inboxes, self.name = server.inboxes, inbox
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        self.inboxes[inbox] = self.queue

    async def next_msg(self, timeout: float) -> Any:
        async with asyncio.timeout(timeout):
            return await self.queue.get()

    async def unsubscribe(self) -> None:
        del self.inboxes[self.name]


class JetStreamCalls:
    """The interface of `nats.js.JetStreamContext`."""

    def __init__(self, connection: NatsConnection) -> None:
        self.connection = connection
        self.server = connection.server

    async def publish(self, subject: str, data: bytes, timeout: float, headers: dict[str, str]) -> Any:
        self.connection.may("js.publish")
        if len(data) > self.connection.max_payload:
            raise nats_errors.MaxPayloadError
        return SimpleNamespace(duplicate=not self.server.keep(subject, data, headers["Nats-Msg-Id"]))

    async def add_stream(self, config: api.StreamConfig) -> None:
        self.connection.may("add_stream")
        assert config.name is not None
        self.server.streams.setdefault(config.name, NatsStream(config))

    async def delete_stream(self, name: str) -> None:
        kind: dict[str, Any] = self.server.buckets if name.startswith("KV_") else self.server.streams
        if kind.pop(name.removeprefix("KV_"), None) is None:
            raise js_errors.NotFoundError

    async def add_consumer(self, stream: str, config: api.ConsumerConfig) -> Any:
        assert config.durable_name is not None
        self.server.streams[stream].consumers[config.durable_name] = Consumer(config)
        return SimpleNamespace(config=config)

    async def consumer_info(self, stream: str, name: str) -> Any:
        self.connection.may("consumer_info")
        try:
            consumer = self.server.streams[stream].consumers[name]
        except KeyError:
            raise js_errors.NotFoundError from None
        return SimpleNamespace(config=consumer.config, num_ack_pending=len(consumer.pending))

    async def key_value(self, name: str) -> Bucket:
        self.connection.may("key_value")
        if name not in self.server.buckets:
            raise js_errors.NotFoundError
        return Bucket(self, name)

    async def create_key_value(self, config: api.KeyValueConfig) -> Bucket:
        self.server.buckets.setdefault(config.bucket, {})
        return Bucket(self, config.bucket)


class Bucket:
    """The interface of `nats.js.kv.KeyValue`."""

    def __init__(self, calls: JetStreamCalls, name: str) -> None:
        self.calls, self.name = calls, name

    def values(self, missing: type[Exception]) -> dict[str, tuple[bytes, int]]:
        try:
            return self.calls.server.buckets[self.name]
        except KeyError:
            raise missing from None

    async def get(self, name: str) -> Any:
        values = self.values(js_errors.BucketNotFoundError)
        self.calls.connection.may("get")
        if name not in values:
            raise js_errors.KeyNotFoundError
        value, revision = values[name]
        return SimpleNamespace(value=value, revision=revision)

    async def create(self, name: str, value: bytes) -> None:
        await self.update(name, value, 0)

    async def update(self, name: str, value: bytes, last: int) -> None:
        values = self.values(js_errors.NoStreamResponseError)
        self.calls.connection.may("update")
        if values.get(name, (b"", 0))[1] != last:
            raise js_errors.KeyWrongLastSequenceError("wrong last sequence")
        values[name] = value, self.calls.server.next()
