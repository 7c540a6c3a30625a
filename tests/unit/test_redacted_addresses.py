"""URLs with a password where none is expected: the password is in no message, and in no exception behind it."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pushcore.cli.queue_access import _has_password
from pushcore.errors import ConfigurationError
from pushcore.http2.origin import read_origin
from pushcore.http2.proxy import Proxy
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.errors import QueueError
from pushcore.queue.opening import open_queue
from pushcore.redaction import shown_address, split_address

WORD = "Hunter2Secr"
FORMS = (
    *(
        "user:{}",
        "user:{}@",
        ":{}",
        "//user:{}@h",
        ":{}@h:x",
        "u%3A{}@h:1",
        "{}@",
        "Bearer {}",
        "password={}",
    ),
    *("http://user:{}", "http://user:{}@", "http://u:{}@[::1", "http://u:{}/x@h:1", "http://u:{} x@h"),
    *(
        "redis://:{}",
        "redis://u:{}",
        "redis://u:{}@h:x",
        "redis:u:{}@h",
        "rediss://u:{}",
        "valkey://u:{}@h:x",
    ),
    *("redis+sentinel://u:{}", "redis+sentinel://u:{}@h:1", "redis+cluster://u:{}", "unix://u:{}"),
    *("nats://u:{}", "nats://u:{}@h:1,nats://v:{}", "nats://u:{}@h:1?replicas={}", "nats://h?token={}"),
    *(
        "https://h:1/?password={}",
        "https://h:1/#{}",
        "https://h:1/{}",
        "ftp://u:{}@h/{}",
        "https://u:{}@\u2100",
    ),
)
READERS: dict[str, Callable[[str], Any]] = {
    "url": read_origin,
    "proxy": Proxy.parse,
    "host": lambda text: Proxy(text, 80),
    "environment": lambda text: Proxy.from_environment("h", {"https_proxy": text}),
    "queue": lambda text: asyncio.run(open_queue(text, "autumn")),
    "redis": lambda text: asyncio.run(RedisQueue.open(text, "autumn", socket_connect_timeout=0.05)),
    "nats": lambda text: asyncio.run(NatsQueue.open(text, "autumn", connect_timeout=0.05)),
}


def raised_by(reader: Callable[[str], Any], text: str) -> Exception | None:
    """The error of a reader; None where it takes the text."""
    try:
        reader(text)
    except (ConfigurationError, QueueError) as error:
        return error
    return None


def told(error: BaseException | None) -> str:
    """All that anybody could print of an exception, without the lines of source code."""
    lines: list[str] = []
    while error is not None:
        shown = traceback.format_exception(error, chain=False)
        lines += [line for line in "".join(shown).splitlines() if not line.startswith("    ")]
        lines.append(repr(error))
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("form", FORMS)
def test_a_password_is_in_no_message_and_in_no_exception_behind_it(reader: str, form: str) -> None:
    text = form.replace("{}", WORD)
    if reader in ("redis", "nats") and not text.startswith(
        ("redis", "valkey") if reader == "redis" else "nats"
    ):
        return  # `open_queue` lets no other scheme through
    error = raised_by(READERS[reader], text)
    assert WORD not in told(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("http://127.0.0.1:8443", "'http://127.0.0.1:8443'"),
        ("https://[::1]:1/3/device", "'https://[::1]:1/…'"),
        ("https://host:99999999", "'https://…'"),
        ("https://me:pw@host", "'https://…'"),
        ("api.example.com", "a text without a known scheme"),
        ("", "an empty text"),
        (None, "None"),
        (b"https://h", "bytes"),
        ("https://" + "a" * 50 + "." + "b" * 50, "'https://" + "a" * 50 + ".b…'"),
        ("https://" + "a" * 64, "'https://…'"),
    ],
)
def test_of_a_wrong_address_only_scheme_host_and_port_are_shown(value: object, words: str) -> None:
    assert shown_address(value) == words


@pytest.mark.parametrize(
    "url",
    [
        None,
        1,
        b"https://h",
        "https://[::1",
        "https://h:x",
        "https://h:65536",
        "https://" + "a" * 64,
        "https://a..b",
        "https://h:0",
        "https://\u2100",
    ],
)
def test_what_cannot_be_read_has_no_parts(url: object) -> None:
    assert split_address(url) is None


def test_an_address_is_read() -> None:
    parts = split_address("https://me:pw@host:8443/path")
    assert parts is not None
    assert (parts.scheme, parts.hostname, parts.port, parts.path) == ("https", "host", 8443, "/path")


def test_a_queue_that_cannot_be_read_is_no_failure_of_the_warning() -> None:
    assert not _has_password("http://u:pw@[::1")
    assert _has_password("redis://u:pw@h")
    assert _has_password("nats://token@h")
