"""Standard streams that neither stop a command nor fail without a name: closed, broken, full, and as they should be."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pushcore.cli import streams
from pushcore.cli.streams import MAX_PENDING, NamedFile, StandardError, is_blocked, standard_streams

FULL = b"x" * 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reads, writes = os.pipe()
    yield reads, writes
    os.close(reads)
    os.close(writes)


def fill(number: int) -> int:
    """Write to a pipe until it takes no more; how many bytes that were."""
    os.set_blocking(number, False)
    size = 0
    try:
        while True:
            size += os.write(number, FULL)
    except BlockingIOError:
        os.set_blocking(number, True)
        return size


def test_written_bytes_are_there_at_once(pipe: tuple[int, int]) -> None:
    stream = StandardError(pipe[1])
    assert stream.write(b"a" * 5000) == 5000
    assert os.read(pipe[0], 10_000) == b"a" * 5000
    assert not stream.pending


def test_a_full_pipe_makes_nothing_wait_and_gets_the_rest_later(pipe: tuple[int, int]) -> None:
    stream = StandardError(pipe[1])
    size = fill(pipe[1])
    assert stream.write(b"first\n") == 6
    stream.flush()
    stream.drain(0.01)
    assert stream.pending == b"first\n"
    while size:
        size -= len(os.read(pipe[0], size))
    stream.write(b"second\n")
    assert os.read(pipe[0], 100) == b"first\nsecond\n"


def test_pending_bytes_are_bounded(pipe: tuple[int, int]) -> None:
    stream = StandardError(pipe[1])
    fill(pipe[1])
    for _ in range(100):
        assert stream.write(FULL) == len(FULL)
    assert len(stream.pending) == MAX_PENDING


def test_a_pipe_without_a_reader_takes_everything() -> None:
    reads, writes = os.pipe()
    stream = StandardError(writes)
    os.close(reads)
    for _ in range(3):
        assert stream.write(b"lost\n") == 5
        stream.flush()
        stream.drain(1.0)
        assert not stream.pending
    os.close(writes)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_full_disk_takes_everything() -> None:
    with open("/dev/full", "wb", buffering=0) as file:
        stream = StandardError(file.fileno())
        assert stream.write(b"lost\n") == 5
        assert not stream.pending


def test_a_terminal_that_is_gone_takes_everything() -> None:
    master, slave = os.openpty()
    stream = StandardError(slave)
    assert stream.isatty()
    os.close(master)
    assert stream.write(b"lost\n") == 5
    assert not stream.pending
    os.close(slave)


def test_nothing_is_drawn_where_something_waits(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_blocked()
    stream = StandardError(pipe[1])
    buffered = io.BufferedWriter(stream)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(buffered, write_through=True))
    assert not is_blocked()  # a stream of another kind
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(stream, write_through=True))  # type: ignore[type-var]
    assert not is_blocked()
    fill(pipe[1])
    sys.stderr.write("x")
    assert is_blocked()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_an_error_of_a_file_has_its_name() -> None:
    with NamedFile("/dev/full", "r.csv") as file, pytest.raises(OSError) as raised:
        file.write(b"x")
    assert (raised.value.filename, raised.value.errno) == ("r.csv", errno.ENOSPC)


@pytest.mark.parametrize("method", ["truncate", "close"])
def test_an_error_of_a_file_that_is_truncated_or_closed_has_its_name_too(method: str, tmp_path: Path) -> None:
    file = NamedFile(str(tmp_path / "r.csv"), "r.csv")
    os.close(file.fileno())  # as if the disk was taken away
    with pytest.raises(OSError) as raised:
        getattr(file, method)(*[0] * (method == "truncate"))
    assert (raised.value.filename, raised.value.errno) == ("r.csv", errno.EBADF)
    with contextlib.suppress(OSError):
        file.close()


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    os.replace(path.with_suffix(".other"), path)


@pytest.mark.parametrize("change", [removed, replaced])
def test_a_file_that_was_removed_while_it_was_written_is_an_error(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "r.csv"
    path.with_suffix(".other").touch()
    file = NamedFile(str(path), "r.csv")
    change(path)
    with pytest.raises(OSError, match="it was removed while it was written") as raised:
        file.close()
    assert raised.value.filename == "r.csv"
    assert file.closed
    file.close()


def test_a_file_that_was_renamed_or_never_had_a_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with NamedFile(str(path), "r.csv") as file:
        path.rename(tmp_path / "moved")
        file.write(b"x")
    assert (tmp_path / "moved").read_bytes() == b"x"
    number = os.open(path, os.O_WRONLY | os.O_CREAT)
    path.unlink()
    NamedFile(number, "r.csv").close()


# --- the streams of a command, with pipes in the place of the process's own ones --------------------------------------


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """What can be read of the standard output and error of a command in `standard_streams`."""
    reads, writes = zip(os.pipe(), os.pipe(), strict=True)
    name_file, stand_in = streams.NamedFile, streams.StandardError
    monkeypatch.setattr(
        streams,
        "NamedFile",
        lambda number, shown, closefd: name_file(writes[number - 1], shown, closefd=False),
    )
    monkeypatch.setattr(streams, "StandardError", lambda number: stand_in(writes[number - 1]))
    monkeypatch.setattr(streams, "_CLOSED", ())
    yield reads
    for number in (*reads, *writes):
        with contextlib.suppress(OSError):
            os.close(number)


def test_what_a_command_writes_goes_to_both_streams(
    standard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, error = standard
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with standard_streams():
        print("one")
        print("two\udcff", file=sys.stderr)
    assert os.read(out, 100) == b"one\n"
    assert os.read(error, 100) == b"two\\udcff\n"


# From Python 3.13 on, a stream that is forgotten tells what it could not write; `os.dup2` would have given it /dev/null.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_output_that_fails_is_named_and_not_tried_again(
    standard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[tuple[int, int]] = []

    def fail() -> None:
        with standard_streams():
            monkeypatch.setattr(os, "dup2", lambda new, old: replaced.append((new, old)))
            os.close(standard[0])
            print("lost")

    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with pytest.raises(BrokenPipeError) as raised:
        fail()
    assert raised.value.filename == "the standard output"
    ((null, replaced_one),) = replaced
    assert replaced_one == 1
    os.close(null)


def test_an_output_that_is_somebody_elses_stays(
    standard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = io.StringIO()
    monkeypatch.setattr(sys, "stdout", other)
    with standard_streams():
        assert sys.stdout is other


def test_without_streams_there_are_some_nevertheless(
    standard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a program without a console."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with standard_streams():
        print("one\udcff")
        print("two", file=sys.stderr)
    assert os.read(standard[0], 100) == b"one\\udcff\n"
    assert os.read(standard[1], 100) == b"two\n"


def test_a_system_that_cannot_poll_keeps_its_standard_error(
    standard: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("select.poll")
    before = sys.stderr
    with standard_streams():
        assert sys.stderr is before


def test_a_number_of_a_stream_that_was_closed_is_occupied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is the next one that the system gives out, or another."""
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    far = lowest + 50
    monkeypatch.setattr(streams, "_CLOSED", ((lowest, os.O_WRONLY), (far, os.O_RDONLY)))
    streams._occupy_closed()
    assert os.get_inheritable(lowest)
    assert os.get_inheritable(far)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.read(lowest, 1)
    assert os.read(far, 1) == b""
    streams._occupy_closed()  # what is open stays
    assert os.read(far, 1) == b""
    os.close(lowest)
    os.close(far)


def test_flushing_after_it_was_closed_does_nothing(pipe: tuple[int, int]) -> None:
    stream = StandardError(pipe[1])
    fill(pipe[1])
    stream.write(b"x")
    stream.close()
    stream.flush()
    assert stream.pending == b"x"


def test_a_pipe_that_takes_less_than_its_poll_says_is_tried_later(pipe: tuple[int, int]) -> None:
    stream = StandardError(pipe[1])
    os.set_blocking(pipe[1], False)
    fill(pipe[1])
    os.set_blocking(pipe[1], False)
    stream._poll = type("Poll", (), {"poll": lambda self, wait: [1]})()
    stream.write(b"x")
    assert stream.pending == b"x"


PROGRAM = "import sys; from pushcore.cli.main import run; sys.exit(run())"


def command(shell: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a line in which $P is the command `pushcore`."""
    return subprocess.run(
        ["sh", "-c", shell.replace("$P", f"{sys.executable} -c '{PROGRAM}'")],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "status", "words"),
    [
        ("$P --version", 0, ""),
        ("$P --version >&-", 1, "pushcore: the standard output: Bad file descriptor\n"),
        ("$P --version >/dev/full", 1, "pushcore: the standard output: No space left on device\n"),
        ("$P status none.db 2>&-", 2, ""),
        ("$P status none.db <&- >&- 2>&-", 2, ""),
        ("$P status none.db 2>/dev/full", 2, ""),
        ("$P status none.db", 2, "pushcore: there is no journal none.db\n"),
        ("$P --version | true", 0, ""),
    ],
)
def test_a_command_ends_as_it_should_whatever_its_streams_are(shell: str, status: int, words: str) -> None:
    done = command(shell)
    assert (done.returncode, done.stderr) == (status, words)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "_pushcore_completion"), ("zsh", "#compdef pushcore"), ("fish", "complete --no-files")],
)
def test_a_shell_is_told_how_to_complete(shell: str, words: str) -> None:
    """As docs/operations/operators.md says."""
    done = command(f"_PUSHCORE_COMPLETE={shell}_source $P")
    assert words in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pushcore sta", "status"),
        ("pushcore send --apns-k", "--apns-key"),
        ("pushcore send --retry r", "resend"),
    ],
)
def test_commands_options_and_choices_are_completed(line: str, expected: str) -> None:
    count = len(line.split()) - 1
    done = command(f"_PUSHCORE_COMPLETE=bash_complete COMP_WORDS='{line}' COMP_CWORD={count} $P")
    assert f"plain,{expected}" in done.stdout
