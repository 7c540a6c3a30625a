"""What a command that sends needs, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pushcore.cli.main import main

from ..credentials import AUTHORITY, KEY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def credentials(tmp_path: Path) -> list[str]:
    """Options with which APNs could be sent to."""
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "authority.pem").write_bytes(AUTHORITY)
    return [
        *("--apns-key", str(tmp_path / "key.p8"), "--key-id", "ABC123DEFG", "--team-id", "TEAM123456"),
        *("--topic", "com.example.app", "--proxy", "none", "--ca-file", str(tmp_path / "authority.pem")),
    ]


@pytest.fixture
def payload(tmp_path: Path) -> str:
    """A payload for APNs."""
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi"}}')
    return str(tmp_path / "payload.json")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process: its status, its standard output and its standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        said = capsys.readouterr()
        return status, said.out, said.err

    return call
