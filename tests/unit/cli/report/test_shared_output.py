"""`SharedOutput`: what is written at a time is in the file as one piece, whoever else writes there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pushcore.cli.report.output import text_of
from pushcore.cli.report.shared_output import TOGETHER, SharedOutput


class Files:
    """An output and a lock, as several processes have them."""

    def __init__(self, place: Path) -> None:
        self.path = place / "results.csv"
        self.number = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        self.lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    def writer(self) -> SharedOutput:
        return SharedOutput(self.number, self.lock)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    made = Files(tmp_path)
    yield made
    os.close(made.number)
    os.close(made.lock)


def test_nothing_is_in_the_file_before_there_is_enough_or_it_is_flushed(files: Files) -> None:
    writer = files.writer()
    assert writer.write(b"a" * (TOGETHER - 1)) == TOGETHER - 1
    assert files.path.stat().st_size == 0
    writer.write(b"\n")
    assert files.path.stat().st_size == TOGETHER
    writer.write(b"b\n")
    assert files.path.stat().st_size == TOGETHER
    writer.flush()
    assert files.path.read_bytes() == b"a" * (TOGETHER - 1) + b"\nb\n"


def test_closing_writes_what_is_left_and_leaves_the_file_open(files: Files) -> None:
    with files.writer() as writer:
        writer.write(b"a\n")
    assert writer.closed
    files.writer().flush()
    os.write(files.number, b"b\n")
    assert files.path.read_bytes() == b"a\nb\n"


def test_pieces_of_two_writers_follow_each_other_whole(files: Files) -> None:
    one, two = files.writer(), files.writer()
    one.write(b"1" * 10)
    two.write(b"2" * 10)
    one.write(b"1" * 10)
    two.flush()
    one.flush()
    assert files.path.read_bytes() == b"2" * 10 + b"1" * 20


def test_a_text_file_over_it_never_parts_what_it_was_given(files: Files) -> None:
    text = text_of(files.writer())
    rows = [f"{number},{'é' * (number % 50)}\n" for number in range(20_000)]
    sizes = set()
    for row in rows:
        text.write(row)
        sizes.add(files.path.stat().st_size)
    written = files.path.read_bytes()
    assert all(written[:size].endswith(b"\n") for size in sizes if size)
    assert len(sizes) > 3
    text.close()
    assert files.path.read_text() == "".join(rows)


def test_the_system_may_take_less_than_it_is_given(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, bytes(data)[:3]))
    writer = files.writer()
    writer.write(b"0123456789")
    writer.flush()
    assert files.path.read_bytes() == b"0123456789"


def test_it_writes_only_while_it_has_the_lock_and_gives_it_up_after_an_error(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    names = {fcntl.LOCK_EX: "lock", fcntl.LOCK_UN: "unlock"}
    monkeypatch.setattr(fcntl, "lockf", lambda number, how: calls.append(names[how]))

    def full(number: int, data: bytes) -> int:
        calls.append("write")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    writer = files.writer()
    writer.write(b"a\n")
    with pytest.raises(OSError, match="No space left"):
        writer.flush()
    assert calls == ["lock", "write", "unlock"]


def test_it_is_there_to_be_written(files: Files) -> None:
    assert files.writer().writable()
    assert not files.writer().readable()
