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
from tests.unit.apns.clients import client_of, key

RecordedRequest = tuple[str, str, str | None, bytes]
"""Method, path, channel, body."""


class Manager:
    """Returns the scripted responses in order, the last one repeatedly, and records the requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *responses: Answer) -> None:
        self.requests: list[RecordedRequest] = []
        self.authorities: list[str] = []
        self._responses = list(responses)
        connect_to(monkeypatch, self)

    def __call__(self, fields: dict[str, str], body: bytes) -> Answer:
        self.requests.append((fields[":method"], fields[":path"], fields.get("apns-channel-id"), body))
        self.authorities.append(fields[":authority"])
        return self._responses.pop(0) if len(self._responses) > 1 else self._responses[0]


def call_channels(call: Callable[[Channels], Awaitable[Any]], **options: Any) -> Any:
    """Call with the channels of an open client."""

    async def work() -> Any:
        async with client_of() as client:
            return await call(Channels(client, url="https://manage.test:2196", **options))

    return run(work())


def test_creating_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (201, {"apns-channel-id": "abc="}, b""))
    assert call_channels(lambda channels: channels.create(stores=True)) == Channel("abc=", True)
    assert call_channels(lambda channels: channels.create()) == Channel("abc=", False)
    path = "/1/apps/com.example.app/channels"
    assert [request[:3] for request in manager.requests] == [("POST", path, None)] * 2
    assert [orjson.loads(request[3]) for request in manager.requests] == [
        {"message-storage-policy": 1, "push-type": "LiveActivity"},
        {"message-storage-policy": 0, "push-type": "LiveActivity"},
    ]
    assert set(manager.authorities) == {"manage.test:2196"}


@pytest.mark.parametrize("policy", [0, 1])
def test_reading_a_channel(policy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    body = orjson.dumps({"message-storage-policy": policy, "push-type": "LiveActivity"})
    manager = Manager(monkeypatch, (200, {}, body))
    assert call_channels(lambda channels: channels.read("abc=")) == Channel("abc=", bool(policy))
    assert manager.requests == [("GET", "/1/apps/com.example.app/channels", "abc=", b"")]


def test_deleting_and_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (204, {}, b""))
    assert call_channels(lambda channels: channels.delete("abc=")) is None
    manager = Manager(monkeypatch, (200, {}, b'{"channels":["a","b"]}'))
    assert call_channels(lambda channels: channels.list(), topic="com.other") == ["a", "b"]
    assert manager.requests == [("GET", "/1/apps/com.other/all-channels", None, b"")]


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
        call_channels(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.status) == (Verdict.UNKNOWN, 200)
    assert str(result.detail).startswith("this is not a response of APNs (a proxy, a wrong URL?): 200 with ")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("status", [301, 400, 403, 404, 413])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"message":"no route"}', b"x" * 2_000_000])
def test_a_rejection_by_another_server_blames_neither_key_nor_request(
    name: str, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    Manager(monkeypatch, (status, {}, body))
    with pytest.raises(PushRejected) as caught:
        call_channels(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.reason) == (Verdict.MISCONFIGURED, "UnexpectedResponse")
    assert f"(a proxy, a wrong URL?): {status} with " in str(result.detail)


@pytest.mark.parametrize("name", CALLS)
def test_a_rejection_is_raised_with_apples_reason(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (400, {}, b'{"reason":"BadChannelId"}'))
    with pytest.raises(PushRejected) as caught:
        call_channels(CALLS[name])
    result = caught.value.result
    assert (result.verdict, result.reason, result.status) == (Verdict.INVALID, "BadChannelId", 400)
    assert len(manager.requests) == 1


def test_an_invalid_channel_id_is_refused_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (200, {}, b""))
    with pytest.raises(PushRejected) as caught:
        call_channels(lambda channels: channels.read("a b"))
    assert (caught.value.result.reason, caught.value.result.push) == ("BadChannelId", "a b")
    assert manager.requests == []


def test_a_request_over_a_connection_bound_to_another_key_is_retried_over_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    manager = Manager(
        monkeypatch, (403, {}, b'{"reason":"UnrelatedKeyIdInToken"}'), (200, {}, b'{"channels":[]}')
    )
    assert call_channels(lambda channels: channels.list()) == []
    assert len(manager.requests) == 2


@pytest.mark.parametrize("environment", SERVERS)
def test_each_environment_has_its_server(environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = Manager(monkeypatch, (200, {}, b'{"channels":[]}'))

    async def work() -> None:
        async with client_of(key(), url=None, environment=environment) as client:
            await Channels(client).list()

    run(work())
    assert manager.authorities == [SERVERS[environment].authority]


def test_unusable_arguments_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="needs the url of the server for channels"):
        Channels(client_of())
    with pytest.raises(ConfigurationError, match="url must look like"):
        Channels(client_of(), url="manage.test")
    with pytest.raises(ConfigurationError, match="not a bundle id"):
        Channels(client_of(), url="https://manage.test", topic="com example")
    with pytest.raises(ConfigurationError, match="has a topic"):
        Channels(client_of(topic=None), url="https://manage.test")


async def test_a_client_that_is_not_open_raises() -> None:
    with pytest.raises(ClosedError, match="async with"):
        await Channels(client_of(), url="https://manage.test").list()
