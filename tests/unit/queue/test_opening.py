"""Which adapter a URL leads to, and with what."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.errors import ConfigurationError
from pushcore.queue.access import Access
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.opening import open_queue
from pushcore.queue.protocol import IDLE


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the adapters were asked to open; they open nothing."""
    calls: list[tuple[Any, ...]] = []

    def opener(kind: str) -> Any:
        async def open(url: str, campaign: str, *, idle: float, access: object, **options: Any) -> Any:
            assert access is None
            calls.append((kind, url, campaign, idle, options))

        return open

    monkeypatch.setattr(RedisQueue, "open", opener("redis"))
    monkeypatch.setattr(NatsQueue, "open", opener("nats"))
    return calls


@pytest.mark.parametrize(
    ("url", "kind", "given"),
    [
        ("redis://h:1/0", "redis", "redis://h:1/0"),
        ("rediss://u:p@h", "redis", "rediss://u:p@h"),
        ("unix:///run/redis.sock", "redis", "unix:///run/redis.sock"),
        ("valkey://h:1", "redis", "redis://h:1"),
        ("valkeys://h:1", "redis", "rediss://h:1"),
        ("VALKEY://h:1", "redis", "redis://h:1"),
        ("redis+sentinel://h:1,i:2/name", "redis", "redis+sentinel://h:1,i:2/name"),
        ("valkeys+cluster://h:1", "redis", "rediss+cluster://h:1"),
        ("nats://h:4222", "nats", "nats://h:4222"),
        ("nats://h:4222,i:4223?replicas=3", "nats", "nats://h:4222,i:4223?replicas=3"),
        ("tls://h:4222", "nats", "tls://h:4222"),
    ],
)
async def test_the_scheme_says_which_adapter(
    url: str, kind: str, given: str, opened: list[tuple[Any, ...]]
) -> None:
    await open_queue(url, "camp")
    assert opened == [(kind, given, "camp", IDLE, {})]


async def test_its_pem_files_are_checked_first(opened: list[tuple[Any, ...]]) -> None:
    with pytest.raises(ConfigurationError, match=r"ca_file /none/ca\.pem cannot be read"):
        await open_queue("tls://h", "camp", access=Access(ca_file="/none/ca.pem"))
    assert not opened


async def test_options_are_handed_on(opened: list[tuple[Any, ...]]) -> None:
    await open_queue("nats://h", "camp", idle=5.0, replicas=3)
    assert opened == [("nats", "nats://h", "camp", 5.0, {"replicas": 3})]


@pytest.mark.parametrize("url", ["", "h:4222", "amqp://h", "http://h", "redis", "x" * 100 + "://h"])
async def test_any_other_scheme_is_one_sentence_without_the_url(
    url: str, opened: list[tuple[Any, ...]]
) -> None:
    with pytest.raises(ConfigurationError, match="begins with redis:// or nats://") as caught:
        await open_queue(url, "camp")
    assert len(str(caught.value)) < 100
    assert opened == []


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@[::1",
        "nats://:secret@[::1",
        "valkey://[",
        "redis://:sec/ret@h",
        "redis://h:secret",
        "redis://h:99999",
        "nats://h:secret",
        "nats://h,nats://h:secret",
        "nats://h?secret=3",
        "redis+sentinel://h:1,i:secret/name",
        "redis+sentinel://u:secret@h:1",
        "redis+sentinel://u:secret@/name",
        "redis+cluster://u:secret@h:1/3",
        "redis+cluster://u:p@h:1?secret=1",
        "nats://",
        "tls://u:secret@",
        "redis://127.0.0.1:1/?secret=1",
        "redis://127.0.0.1:1/?socket_timeout=secret",
    ],
)
async def test_a_url_that_cannot_be_is_named_as_such_and_not_repeated(url: str) -> None:
    for library in ("redis", "nats"):
        pytest.importorskip(library)
    with pytest.raises(ConfigurationError, match="URL") as raised:
        await open_queue(url, "camp")
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


@pytest.mark.parametrize("url", [None, b"redis://127.0.0.1", 6379])
async def test_a_url_of_a_wrong_type_is_named(url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^url must be a string such as redis://HOST:PORT, not"):
        await open_queue(url, "autumn")
