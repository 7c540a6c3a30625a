"""A campaign on a queue of our own, with either adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.queue.command_line import Campaign, CommandLine
from tests.support import queues


@pytest.fixture(params=queues.ADAPTERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[queues.Server]:
    """What the adapters do not differ in is tried on one of them: `on_redis`."""
    made = queues.start(request.param, tmp_path / "queue")
    yield made
    made.stop()


@pytest.fixture
def pushcore(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


@pytest.fixture
def campaign(pushcore: CommandLine, server: queues.Server, tmp_path: Path) -> Campaign:
    return Campaign(pushcore, server.url, tmp_path)
