"""What is said to NATS beyond its client's own calls, over a connection that answers as told."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from nats.js import errors as js_errors

from pushcore.queue.brokers.nats_wire import NatsHandle, SubjectFull, age, let_go, named, pull, stream_info
from pushcore.queue.errors import QueueError, QueueFull, QueueRefused, QueueUnavailable


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
async def test_what_a_consumer_gives_out_until_it_has_no_more(messages: list[Any], found: Any) -> None:
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
