"""The servers that a campaign's queue can be on, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import nats, redis

Server = redis.RedisServer | nats.NatsServer
ADAPTERS = ("redis", "nats")
"""One server for each adapter."""


def start(kind: str, directory: Path, *options: str) -> Server:
    """A running "redis", "valkey" or "nats"; skips the test if it is not installed. Stop it at the end."""
    if kind == "nats":
        if nats.BINARY is None:
            pytest.skip(nats.MISSING)
        return nats.NatsServer(directory).start()
    binary, missing = (redis.VALKEY, redis.NO_VALKEY) if kind == "valkey" else (redis.BINARY, redis.MISSING)
    if binary is None:
        pytest.skip(missing)
    return redis.RedisServer(directory, *options, binary=binary).start()
