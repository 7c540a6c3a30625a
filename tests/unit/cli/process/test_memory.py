"""Too little memory is one sentence: in a message, in an import, in a thread that cannot start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pushcore.cli import main as module
from pushcore.cli.main import main
from pushcore.cli.process.memory import TOO_LITTLE, handle_uncaught, say_last_words, shortage

ROOT = Path(__file__).parents[4]
FAILING = """
import os, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == os.environ["AT_MODULE"]:
            raise eval(os.environ["ERROR"])

sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), TOO_LITTLE),
        (RuntimeError("can't start new thread"), "no thread can be started: there is too little memory, or "),
        (ImportError("libx.so: failed to map segment from shared object"), TOO_LITTLE),
        (ImportError("libx.so.0: cannot allocate memory in static TLS block"), TOO_LITTLE),
        (ImportError("No module named 'x'"), None),
        (RuntimeError("a bug"), None),
        (KeyError("can't start new thread"), None),
    ],
)
def test_what_memory_is_missing_for(error: Exception, words: str | None) -> None:
    text = shortage(error)
    assert text is None if words is None else (text or "").startswith(words)


def test_no_memory_for_the_message_of_an_error(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit status is that of the first error."""

    def fail(text: str) -> str:
        raise MemoryError

    monkeypatch.setattr(module, "redact", fail)
    assert main(["nonsense"]) == 2
    assert capfd.readouterr().err == f"pushcore: {TOO_LITTLE}\n"


@pytest.mark.parametrize(
    ("error", "last_words"),
    [
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("a bug"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_the_end_by_an_error_that_nobody_caught(
    error: BaseException,
    last_words: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python shows all others itself."""
    shown: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", None)
    monkeypatch.setattr(sys, "__excepthook__", lambda kind, error, trace: shown.append(error))
    handle_uncaught()
    sys.excepthook(type(error), error, None)
    assert capfd.readouterr().err == (f"pushcore: {TOO_LITTLE}\n" if last_words else "")
    assert shown == ([] if last_words else [error])


def test_last_words_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int, data: bytes) -> int:
        raise OSError(32, "Broken pipe")

    monkeypatch.setattr(os, "write", fail)
    say_last_words()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("MemoryError()", f"pushcore: {TOO_LITTLE}\n"),
        ("ImportError('failed to map segment from shared object')", f"pushcore: {TOO_LITTLE}\n"),
        ("ImportError('no such name')", "ImportError: no such name\n"),
    ],
)
@pytest.mark.parametrize("at", ["pushcore.apns", "pushcore.cli.commands.send"])
def test_no_memory_for_an_import(tmp_path: Path, at: str, error: str, words: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "AT_MODULE": at, "ERROR": error}
    run = subprocess.run(
        [sys.executable, "-m", "pushcore", "--help"],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.endswith(words)
    assert ("Traceback" in run.stderr) == ("no such name" in error)
