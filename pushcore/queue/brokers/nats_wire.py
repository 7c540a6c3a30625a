"""Requests to a NATS server that nats-py lacks: a first connection that fails soon, pulls, confirmed acknowledgements."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import QueueError, QueueFull, QueueRefused, QueueUnavailable
from ..tasks import end

try:
    from nats import errors as nats_errors
    from nats.aio import client as client_library
    from nats.js import errors as js_errors
except ImportError:  # pragma: no cover  # the extra is not installed
    if not TYPE_CHECKING:
        client_library = None

INSTALLED: Final = client_library is not None
CONNECT: Final = 5.0
"""Seconds for a connection."""
TRIES: Final = 3
"""Attempts. A server that rejects the credentials may close the connection before its reason has been read."""
ANSWER: Final = 5.0
"""Seconds for a response of the server."""
PROMPT: Final = 2.0
"""Seconds for a response to a pull or an acknowledgement; the server may never respond."""

_TOO_MANY: Final = 10077  # messages of a subject, or in the stream: the text says which
_FULL: Final = frozenset({10023, 10028, 10047, 10122})  # resources, storage
_GONE: Final = ("not found", "no message found", "stream store EOF")
"""The server's texts for a message that does not exist: in the middle of a stream, at its ends, and beyond them."""


class NatsHandle(NamedTuple):
    """A delivered message: the subject for its acknowledgement, and its number in the stream."""

    reply: str
    sequence: int


class SubjectFull(QueueError):
    """There is a message of this subject already."""


def handle_of(message: Any) -> NatsHandle:
    """The handle of a message."""
    return NatsHandle(message.reply, message.metadata.sequence.stream)


async def connect(servers: Sequence[str], shown: str, options: Mapping[str, Any]) -> Any:
    """Connect: each server is tried `TRIES` times. Once connected, it reconnects without a limit.

    Raises `QueueUnavailable` or `QueueRefused`.
    """
    problems: list[Exception] = []
    hopeless = asyncio.Event()

    async def heard(error: Exception) -> None:
        problems.append(error)
        if len(problems) >= TRIES * len(servers):
            hopeless.set()

    settings: dict[str, Any] = {
        "connect_timeout": CONNECT,
        "reconnect_time_wait": 0.2,
        "max_reconnect_attempts": -1,
        "error_cb": heard,
        **options,
    }
    connection = client_library.Client()
    tasks = [
        asyncio.ensure_future(connection.connect(list(servers), **settings)),
        asyncio.ensure_future(hopeless.wait()),
    ]
    connected = False
    try:
        await asyncio.wait(tasks, timeout=CONNECT, return_when=asyncio.FIRST_COMPLETED)
        connected = tasks[0].done() and tasks[0].exception() is None
    finally:
        await end(tasks)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        if not connected:
            await connection.close()
    if connected:
        return connection
    if any("uthorization" in str(error) for error in [*problems, outcomes[0]]):
        raise QueueRefused(f"NATS at {shown} rejects the credentials")
    cause = problems[-1] if problems else outcomes[0]
    raise QueueUnavailable(f"NATS at {shown} cannot be reached ({type(cause).__name__})")


async def pull(
    connection: Any, consumer: str, question: Mapping[str, Any], patience: float
) -> list[Any] | None:
    """The messages of one pull; None if the server did not respond within `patience` seconds."""
    inbox = connection.new_inbox()
    subscription = await connection.subscribe(inbox)
    messages: list[Any] = []
    deadline = time.monotonic() + patience
    try:
        await connection.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{consumer}", json.dumps(question).encode(), inbox
        )
        while len(messages) < question["batch"]:
            message = await subscription.next_msg(timeout=max(deadline - time.monotonic(), 0.001))
            status = (message.headers or {}).get("Status") if not message.data else None
            if status is None:
                messages.append(message)
            elif status != "100":
                break  # 404 no messages, 408 none in time, 409 the consumer was deleted
    except TimeoutError:
        return messages or None
    finally:
        with suppress(nats_errors.Error, OSError):
            await subscription.unsubscribe()
    return messages


async def let_go(connection: Any, stream: str, message: NatsHandle) -> None:
    """Acknowledge a message; after this returns it is removed."""
    try:
        await connection.request(message.reply, b"+ACK", timeout=PROMPT)
    except TimeoutError:
        # A server that was killed may have forgotten the delivery; it does not respond then.
        question = json.dumps({"seq": message.sequence}).encode()
        answer = await connection.request(f"$JS.API.STREAM.MSG.DELETE.{stream}", question, timeout=ANSWER)
        error = json.loads(answer.data).get("error")
        if error is not None and not any(words in error.get("description", "") for words in _GONE):
            raise js_errors.APIError.from_error(error) from None


async def stream_info(
    connection: Any, stream: str, question: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The server's description of a stream, None if there is none. nats-py cannot request pages of subjects."""
    answer = await connection.request(
        f"$JS.API.STREAM.INFO.{stream}", json.dumps(question or {}).encode(), timeout=ANSWER
    )
    info: dict[str, Any] = json.loads(answer.data)
    if "error" in info:
        if info["error"].get("code") == 404:
            return None
        raise js_errors.APIError.from_error(info["error"])
    return info


def named(error: Any, name: str) -> QueueError:
    """An error of JetStream as a `QueueError`."""
    text = str(error.description or "")[:200]
    if error.err_code == _TOO_MANY and "per subject" in text:
        return SubjectFull(text)
    if error.err_code in _FULL or error.err_code == _TOO_MANY or "maximum" in text:
        return QueueFull(f"{name} has no room for this ({text})")
    if error.code is not None and error.code >= 500:
        return QueueUnavailable(f"{name} is not ready ({text})")
    if error.code == 404:
        return QueueUnavailable(f"{name} has lost this campaign ({text})")
    return QueueRefused(f"{name} does not do this ({text})")


def age(timestamp: str) -> float:
    """Seconds since a timestamp of NATS, which has nanoseconds."""
    try:
        whole, _, rest = timestamp.rstrip("Z").partition(".")
        since = datetime.fromisoformat(f"{whole}.{(rest + '000000')[:6]}").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
    return max(time.time() - since, 0.0)
