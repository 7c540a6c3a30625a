"""A small file is read in bounded memory and time, whatever it is; a pipe with content is read to its end."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushcore import key_material
from pushcore.key_material import read_bounded

LIMIT = 100_000


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def writer() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Runs an action in a thread, which has ended when the test has."""
    threads: list[threading.Thread] = []

    def start(action: Callable[[], object]) -> None:
        threads.append(threading.Thread(target=action))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_file_is_read_up_to_the_limit_and_one_byte_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(str(path), 5) == b"12345"
    assert read_bounded(str(path), 3) == b"1234"
    assert read_bounded(str(path), 5, regular=True) == b"12345"
    path.write_bytes(b"")
    assert read_bounded(str(path), 5) == b""


def test_a_sparse_file_of_a_gigabyte_costs_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert len(read_bounded(str(path), LIMIT)) == LIMIT + 1


def test_devices(tmp_path: Path) -> None:
    assert len(read_bounded("/dev/zero", LIMIT)) == LIMIT + 1
    assert read_bounded("/dev/null", LIMIT) == b""


@pytest.mark.parametrize("content", [b"key", b"x" * LIMIT], ids=["short", "more than a pipe holds"])
def test_a_pipe_that_a_process_writes_to(
    content: bytes, pipe: Path, writer: Callable[[Callable[[], object]], None]
) -> None:
    writer(lambda: pipe.write_bytes(content))
    assert read_bounded(str(pipe), LIMIT) == content


def test_what_was_written_before_the_pipe_was_opened() -> None:
    """As `<(command)` has it, when the command was faster."""
    reading, writing = os.pipe()
    os.write(writing, b"key\n")
    os.close(writing)
    assert read_bounded(f"/dev/fd/{reading}", LIMIT) == b"key\n"
    os.close(reading)


def test_a_writer_that_comes_late_and_writes_in_parts(
    pipe: Path, writer: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is written when the reader waits for it."""
    waits = [threading.Semaphore(0)]
    ready = key_material._ready

    def watched(descriptor: int, seconds: float) -> bool:
        if seconds:
            waits[0].release()
        return ready(descriptor, 10.0 if seconds else 0.0)

    def write() -> None:
        waits[0].acquire(timeout=10)
        with pipe.open("wb", buffering=0) as file:
            file.write(b"first,")
            waits[0].acquire(timeout=10)
            file.write(b"second")

    monkeypatch.setattr(key_material, "_ready", watched)
    writer(write)
    assert read_bounded(str(pipe), LIMIT) == b"first,second"


def test_a_pipe_whose_writer_leaves_without_a_word(
    pipe: Path, writer: Callable[[Callable[[], object]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_material, "UNOPENED", 10.0)
    writer(lambda: pipe.write_bytes(b""))
    assert read_bounded(str(pipe), LIMIT) == b""


def test_a_pipe_that_no_process_writes_to_is_not_waited_for(pipe: Path) -> None:
    with pytest.raises(OSError, match="it is a pipe that no process writes to"):
        read_bounded(str(pipe), LIMIT)


def test_a_writer_that_does_not_end_is_not_waited_for_long(
    pipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_material, "UNFINISHED", 0.05)
    descriptor = os.open(pipe, os.O_RDWR)
    os.write(descriptor, b"half")
    with pytest.raises(OSError, match=r"its end did not come within 0\.05 s"):
        read_bounded(str(pipe), LIMIT)
    os.close(descriptor)


@pytest.mark.parametrize("regular", [False, True])
def test_what_is_no_file(regular: bool, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for path in (tmp_path / "s", tmp_path, tmp_path / "none"):
            with pytest.raises(OSError) as caught:
                read_bounded(str(path), LIMIT, regular=regular)
            assert caught.value.strerror
    with pytest.raises(ValueError, match="null"):
        read_bounded("a\0b", LIMIT, regular=regular)


def test_only_a_regular_file_where_it_is_read_again(pipe: Path) -> None:
    for path in (str(pipe), "/dev/zero", "/dev/null"):
        with pytest.raises(OSError, match="it is not a regular file"):
            read_bounded(path, LIMIT, regular=True)
