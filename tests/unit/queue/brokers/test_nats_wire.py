"""What is said to NATS beyond its client's own calls, over a connection that answers as told."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats.js import errors as js_errors

from pushcore.queue.brokers.nats_wire import (
    NatsHandle,
    SubjectFull,
    age,
    connect,
    let_go,
    named,
    pull,
    stream_info,
)
from pushcore.queue.errors import QueueError, QueueFull, QueueRefused, QueueUnavailable
from tests.support import virtual


class Connection:
    """Gives out `messages` and answers requests with `answers`; an exception is raised."""

    def __init__(self, messages: list[Any] | None = None, answers: list[Any] | None = None) -> None:
        self.messages = list(messages or [])
        self.answers = list(answers or [])
        self.said: list[tuple[str, bytes]] = []
        self.subscribed = 0

    def new_inbox(self) -> str:
        return "inbox"

    async def subscribe(self, inbox: str) -> Connection:
        self.subscribed += 1
        return self

    async def unsubscribe(self) -> None:
        self.subscribed -= 1

    async def publish(self, subject: str, data: bytes, reply: str) -> None:
        self.said.append((subject, data))

    async def next_msg(self, timeout: float) -> Any:
        if not self.messages:
            raise TimeoutError
        return self.messages.pop(0)

    async def request(self, subject: str, data: bytes, timeout: float) -> Any:
        self.said.append((subject, data))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(data=json.dumps(answer).encode())


def message(data: bytes = b"chunk", status: str | None = None) -> Any:
    return SimpleNamespace(data=data, headers={"Status": status} if status else None)


ONE, TWO = message(b"1"), message(b"2")
QUESTION = {"batch": 2, "expires": 5}


@pytest.mark.parametrize(
    ("messages", "found"),
    [
        ([ONE, TWO, message()], [ONE, TWO]),
        ([ONE, message(b"", "100"), TWO], [ONE, TWO]),
        ([ONE, message(b"", "408")], [ONE]),
        ([message(b"", "404")], []),
        ([ONE], [ONE]),
        ([], None),
    ],
)
async def test_a_pull_ends_when_the_consumer_has_no_more(messages: list[Any], found: Any) -> None:
    connection = Connection(messages)
    assert await pull(connection, "s.c", QUESTION, 1.0) == found
    assert connection.said == [("$JS.API.CONSUMER.MSG.NEXT.s.c", json.dumps(QUESTION).encode())]
    assert connection.subscribed == 0


async def test_letting_go_waits_for_the_acknowledgement() -> None:
    connection = Connection(answers=[{}])
    await let_go(connection, "s", NatsHandle("reply", 7))
    assert connection.said == [("reply", b"+ACK")]


@pytest.mark.parametrize(
    "answer",
    [
        {"success": True},
        # as NATS 2.15 answers for a message that is gone: within the stream, at its ends, and beyond its last
        {"error": {"code": 400, "err_code": 10043, "description": "sequence 7 not found"}},
        {"error": {"code": 500, "err_code": 10057, "description": "no message found"}},
        {"error": {"code": 500, "err_code": 10057, "description": "stream store EOF"}},
    ],
)
async def test_a_server_that_does_not_know_what_it_gave_out_is_told_to_delete_it(answer: Any) -> None:
    connection = Connection(answers=[TimeoutError(), answer])
    await let_go(connection, "s", NatsHandle("reply", 7))
    assert connection.said[1] == ("$JS.API.STREAM.MSG.DELETE.s", b'{"seq": 7}')


async def test_a_message_that_cannot_be_deleted_is_an_error() -> None:
    error = {"code": 503, "err_code": 1, "description": "no leader"}
    connection = Connection(answers=[TimeoutError(), {"error": error}])
    with pytest.raises(js_errors.APIError):
        await let_go(connection, "s", NatsHandle("reply", 7))


async def test_a_stream_is_described_or_is_not_there() -> None:
    answers = [{"state": {"messages": 3}}, {"error": {"code": 404}}, {"error": {"code": 503, "err_code": 2}}]
    connection = Connection(answers=answers)
    assert await stream_info(connection, "s", {"offset": 1}) == {"state": {"messages": 3}}
    assert connection.said == [("$JS.API.STREAM.INFO.s", b'{"offset": 1}')]
    assert await stream_info(connection, "s") is None
    with pytest.raises(js_errors.APIError):
        await stream_info(connection, "s")


@pytest.mark.parametrize(
    ("code", "err_code", "description", "kind"),
    [
        (400, 10077, "maximum messages per subject exceeded", SubjectFull),
        (400, 10077, "maximum messages exceeded", QueueFull),
        (503, 10023, "insufficient resources", QueueFull),
        (400, 1, "maximum bytes exceeded", QueueFull),
        (503, 1, "no leader", QueueUnavailable),
        (404, 1, "stream not found", QueueUnavailable),
        (400, 1, "bad request", QueueRefused),
        (None, None, None, QueueRefused),
    ],
)
def test_an_error_of_jetstream_is_one_of_ours(
    code: int | None, err_code: int | None, description: str | None, kind: type[QueueError]
) -> None:
    error = SimpleNamespace(code=code, err_code=err_code, description=description)
    assert type(named(error, "NATS at h")) is kind


@pytest.mark.parametrize("digits", [0, 3, 6, 9])
def test_the_age_of_a_time_with_any_number_of_digits(digits: int) -> None:
    then = datetime.fromtimestamp(time.time() - 100, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    written = then + (f".{'1' * digits}" if digits else "") + "Z"
    assert 98 < age(written) < 102


@pytest.mark.parametrize("written", ["", "now", "0001-01-01T00:00:00", "2999-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_has_no_age_below_zero(written: str) -> None:
    assert age(written) >= 0.0


class Dialled:
    """A client of nats-py whose `connect` does what a test says."""

    def __init__(self, dial: Callable[[Dialled], Awaitable[None]]) -> None:
        self.dial = dial
        self.settings: dict[str, Any] = {}
        self.servers: list[str] = []
        self.closed = False

    async def connect(self, servers: list[str], **settings: Any) -> None:
        self.servers, self.settings = servers, settings
        await self.dial(self)

    async def close(self) -> None:
        self.closed = True


def dial(
    monkeypatch: pytest.MonkeyPatch, behaviour: Callable[[Dialled], Awaitable[None]], servers: int = 1
) -> tuple[Dialled, Any]:
    """The client, and what `connect` returned or raised."""
    client = Dialled(behaviour)
    monkeypatch.setattr("nats.aio.client.Client", lambda: client)

    async def work() -> Any:
        try:
            return await connect([f"nats://h:{number}" for number in range(servers)], "h:1", {"name": "mine"})
        except QueueError as error:
            return error

    return client, virtual.run(work())


def test_a_connection_that_is_made_goes_on_trying_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(client: Dialled) -> None:
        await client.settings["error_cb"](OSError("the first try"))

    client, made = dial(monkeypatch, answer)
    assert made is client
    assert not client.closed
    assert client.servers == ["nats://h:0"]
    assert (client.settings["max_reconnect_attempts"], client.settings["name"]) == (-1, "mine")


@pytest.mark.parametrize("servers", [1, 2])
def test_each_server_is_tried_three_times_at_first(monkeypatch: pytest.MonkeyPatch, servers: int) -> None:
    tries: list[int] = []

    async def refuse(client: Dialled) -> None:
        while True:
            tries.append(1)
            await client.settings["error_cb"](ConnectionRefusedError("s3cret"))
            await asyncio.sleep(0.1)

    client, error = dial(monkeypatch, refuse, servers)
    assert (type(error), str(error)) == (
        QueueUnavailable,
        "NATS at h:1 cannot be reached (ConnectionRefusedError)",
    )
    assert len(tries) == 3 * servers
    assert client.closed


def test_a_server_that_says_nothing_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(client: Dialled) -> None:
        await asyncio.Event().wait()

    client, error = dial(monkeypatch, wait)
    assert (type(error), str(error)) == (QueueUnavailable, "NATS at h:1 cannot be reached (CancelledError)")
    assert client.closed


@pytest.mark.parametrize("aside", [True, False])
def test_a_server_that_does_not_let_us_in_is_another_thing(
    monkeypatch: pytest.MonkeyPatch, aside: bool
) -> None:
    """Whether it says so aside before it cuts the connection, or in what is raised."""

    async def refuse(client: Dialled) -> None:
        if not aside:
            raise RuntimeError("nats: 'Authorization Violation' s3cret")
        await client.settings["error_cb"](RuntimeError("nats: authorization violation"))
        raise ConnectionResetError

    client, error = dial(monkeypatch, refuse)
    assert (type(error), str(error)) == (QueueRefused, "NATS at h:1 rejects the credentials")
    assert client.closed
