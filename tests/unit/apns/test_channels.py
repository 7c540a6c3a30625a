"""Channels against a server that answers as told: what is asked, and what an answer is taken for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from pushcore.apns.channels import SERVERS, Channel, Channels
from pushcore.errors import ClosedError, ConfigurationError, PushRejected
from pushcore.results import Verdict
from tests.support.virtual import Answer, connect_to, run
from tests.unit.apns.test_client import client_of, key

Asked = tuple[str, str, str | None, bytes]
"""Method, path, channel, body."""


class Manager:
    """Answers each request alike, and keeps what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: Answer) -> None:
        self.asked: list[Asked] = []
        self.authorities: list[str] = []
        self._answers = list(answers)
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        self.asked.append((fields[":method"], fields[":path"], fields.get("apns-channel-id"), body))
        self.authorities.append(fields[":authority"])
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def ask(call: Callable[[Channels], Awaitable[Any]], **options: Any) -> Any:
    """Call with the channels of an open client."""

    async def work() -> Any:
        async with client_of() as client:
            return await call(Channels(client, url="https://manage.test:2196", **options))

    return run(work())


def test_creating_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (201, {"apns-channel-id": "abc="}, b""))
    assert ask(lambda channels: channels.create(stores=True)) == Channel("abc=", True)
    assert ask(lambda channels: channels.create()) == Channel("abc=", False)
    path = "/1/apps/com.example.app/channels"
    assert [each[:3] for each in manager.asked] == [("POST", path, None)] * 2
    assert [orjson.loads(each[3]) for each in manager.asked] == [
        {"message-storage-policy": 1, "push-type": "LiveActivity"},
        {"message-storage-policy": 0, "push-type": "LiveActivity"},
    ]
    assert set(manager.authorities) == {"manage.test:2196"}


@pytest.mark.parametrize("policy", [0, 1])
def test_reading_a_channel(policy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    body = orjson.dumps({"message-storage-policy": policy, "push-type": "LiveActivity"})
    manager = Manager(monkeypatch, (200, {}, body))
    assert ask(lambda channels: channels.read("abc=")) == Channel("abc=", bool(policy))
    assert manager.asked == [("GET", "/1/apps/com.example.app/channels", "abc=", b"")]


def test_deleting_and_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (204, {}, b""))
    assert ask(lambda channels: channels.delete("abc=")) is None
    manager = Manager(monkeypatch, (200, {}, b'{"channels":["a","b"]}'))
    assert ask(lambda channels: channels.list(), topic="com.other") == ["a", "b"]
    assert manager.asked == [("GET", "/1/apps/com.other/all-channels", None, b"")]


CALLS: dict[str, Callable[[Channels], Awaitable[Any]]] = {
    "create": lambda channels: channels.create(),
    "read": lambda channels: channels.read("abc="),
    "list": lambda channels: channels.list(),
    "delete": lambda channels: channels.delete("abc="),
}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("create", b""),
        *(("read", body) for body in (b"", b"[]", b"{", b"{}", b'{"message-storage-policy":true}')),
        ("read", b'{"message-storage-policy":2}'),
        *(("list", body) for body in (b"", b"[]", b"{}", b'{"channels":"a"}', b'{"channels":[1]}')),
        ("delete", b"<html>"),
    ],
)
def test_a_success_that_is_not_apples_is_unknown(
    name: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manager(monkeypatch, (200, {}, body))
    with pytest.raises(PushRejected) as caught:
        ask(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.status) == (Verdict.UNKNOWN, 200)
    assert str(result.detail).startswith("this is no response of APNs (a proxy, a wrong URL?): 200 with ")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [301, 400, 403, 404, 413])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message":"no route"}', b"x" * 2_000_000])
def test_a_rejection_by_another_server_blames_neither_key_nor_request(
    name: str, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manager(monkeypatch, (status, {}, body))
    with pytest.raises(PushRejected) as caught:
        ask(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "UnexpectedResponse")
    assert f"(a proxy, a wrong URL?): {status} with " in str(result.detail)


@pytest.mark.parametrize("name", CALLS)
def test_a_refusal_is_raised_with_apples_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (400, {}, b'{"reason":"BadChannelId"}'))
    with pytest.raises(PushRejected) as caught:
        ask(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.reason, result.status) == (Verdict.INVALID, "BadChannelId", 400)
    assert len(manager.asked) == 1


def test_a_channel_id_that_is_none_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (200, {}, b""))
    with pytest.raises(PushRejected) as caught:
        ask(lambda channels: channels.read("a b"))
    assert (caught.value.result.reason, caught.value.result.push) == ("BadChannelId", "a b")
    assert manager.asked == []


def test_a_connection_bound_to_another_key_is_asked_once_more_over_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = Manager(
        monkeypatch, (403, {}, b'{"reason":"UnrelatedKeyIdInToken"}'), (200, {}, b'{"channels":[]}')
    )
    assert ask(lambda channels: channels.list()) == []
    assert len(manager.asked) == 2


@pytest.mark.parametrize("environment", SERVERS)
def test_each_environment_has_its_server(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (200, {}, b'{"channels":[]}'))

    async def work() -> None:
        async with client_of(key(), url=None, environment=environment) as client:
            await Channels(client).list()

    run(work())
    assert manager.authorities == [SERVERS[environment].authority]


def test_what_cannot_work_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError, match="url must say where its channels are"):
        Channels(client_of())
    with pytest.raises(ConfigurationError, match="url must look like"):
        Channels(client_of(), url="manage.test")
    with pytest.raises(ConfigurationError, match="not a bundle id"):
        Channels(client_of(), url="https://manage.test", topic="com example")
    with pytest.raises(ConfigurationError, match="has a topic"):
        Channels(client_of(topic=None), url="https://manage.test")


async def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(ClosedError, match="async with"):
        await Channels(client_of(), url="https://manage.test").list()
