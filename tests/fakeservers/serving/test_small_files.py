"""A small file is read in bounded time; a pipe with content is read to its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakeservers.serving import small_files
from fakeservers.serving.small_files import read_small


def test_files_and_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_small(tmp_path / "file") == b"12345"
    reading, writing = os.pipe()
    os.write(writing, b"12345")
    os.close(writing)
    assert read_small(f"/dev/fd/{reading}") == b"12345"
    os.close(reading)
    monkeypatch.setattr(small_files, "MAX_FILE", 4)
    with pytest.raises(ValueError, match="file has more than 4 bytes"):
        read_small(tmp_path / "file")


def test_a_pipe_without_a_writer_and_one_whose_writer_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe that no process writes to"):
        read_small(tmp_path / "pipe")
    monkeypatch.setattr(small_files, "UNFINISHED", 0.05)
    descriptor = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(OSError, match=r"its end did not come within 0\.05 s"):
        read_small(tmp_path / "pipe")
    os.close(descriptor)
