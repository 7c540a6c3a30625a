"""Signals while a command imports its modules, and what a program that imports the package notices of it: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pushcore.cli.process import interrupts

ROOT = Path(__file__).parents[4]
SIGNAL_AT_IMPORT = """
import os, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name == os.environ["AT_MODULE"]:
            os.kill(os.getpid(), int(os.environ["NUMBER"]))

sys.meta_path.insert(0, Finder)
"""
SCRIPT = "import sys\nfrom pushcore.cli.main import run\nsys.exit(run())\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the script of the command, and a module that Python imports first."""
    (tmp_path / "pushcore").write_text(SCRIPT)
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_AT_IMPORT)
    return tmp_path


def end_of(place: Path, words: list[str], module: str, number: int) -> tuple[int, str]:
    """Status and standard error of a command that gets a signal when it imports a module."""
    variables = {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}", "AT_MODULE": module, "NUMBER": str(number)}
    run = subprocess.run(
        [sys.executable, *words],
        env=os.environ | variables,
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return run.returncode, run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["-m", "pushcore", "--help"], "pushcore.apns"),
        (["-mpushcore", "--help"], "pushcore.cli.main"),
        (["pushcore", "--help"], "pushcore.apns"),
        (["pushcore", "--help"], "pushcore.cli.commands.send"),
        (["-m", "fakeservers", "apns", "--certs", "."], "argparse"),
        (["-m", "fakeservers", "apns", "--certs", "."], "fakeservers.apns.server"),
        (["-m", "bench", "--help"], "click"),
    ],
)
def test_a_command_ends_quietly_while_it_is_imported(
    place: Path, words: list[str], module: str, number: int
) -> None:
    assert end_of(place, words, module, number) == (-number, "")


def test_an_interrupt_before_the_fakes_serve_is_quiet(place: Path) -> None:
    """This module is imported when they run."""
    words = ["-m", "fakeservers", "apns", "--certs", "."]
    assert end_of(place, words, "uvloop", signal.SIGINT) == (-signal.SIGINT, "")


def test_a_program_keeps_its_interrupts(place: Path) -> None:
    status, said = end_of(place, ["-c", "import pushcore"], "pushcore.apns", signal.SIGINT)
    assert status == -signal.SIGINT
    assert said.endswith("\nKeyboardInterrupt\n")


@pytest.mark.parametrize(
    ("program", "line", "expected"),
    [
        ("/usr/bin/pushcore", ["python3", "/usr/bin/pushcore", "send"], True),
        ("C:/Scripts/pushcore.exe", ["python", "C:/Scripts/pushcore.exe"], True),
        ("-m", ["python3", "-X", "dev", "-m", "pushcore", "send"], True),
        ("-m", ["python3", "-mpushcore"], True),
        ("-m", ["python3", "-m", "shop.push", "pushcore"], False),
        ("/srv/pushcore.py", ["python3", "/srv/pushcore.py"], False),
        ("-c", ["python3", "-c", "import pushcore"], False),
        ("", ["python3"], False),
    ],
)
def test_the_command_is_known(
    monkeypatch: pytest.MonkeyPatch, program: str, line: list[str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(sys, "orig_argv", line)
    assert interrupts.is_command() is expected


def test_an_embedded_interpreter_has_no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sys, "argv")
    assert not interrupts.is_command()


def test_a_handler_of_the_program_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.SIG_IGN, lambda number, frame: None):
            signal.signal(signal.SIGINT, handler)
            interrupts.end_quietly()
            interrupts.raise_again()
            assert signal.getsignal(signal.SIGINT) is handler
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.end_quietly()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        interrupts.raise_again()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_after_the_end_does_not_replace_the_exit_status(number: int) -> None:
    """While Python ends: the results are complete then."""
    program = (
        "import atexit, os, sys; from pushcore.cli.main import run; "
        f"atexit.register(os.kill, os.getpid(), {number:d}); sys.argv[1:] = ['--version']; sys.exit(run())"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("pushcore")


@pytest.mark.parametrize("ignored", [False, True])
def test_other_signals_can_have_the_effect_of_ctrl_c(monkeypatch: pytest.MonkeyPatch, ignored: bool) -> None:
    handlers: dict[int, object] = {}
    before = signal.SIG_IGN if ignored else signal.SIG_DFL
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(signal, "getsignal", lambda number: before)
    interrupts.end_by_exception()
    numbers = [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]
    assert handlers == dict.fromkeys(numbers, signal.default_int_handler)


def test_the_end_of_a_command_ignores_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, object] = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    interrupts.ignore()
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    assert handlers == dict.fromkeys(numbers, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("program", "command", "expected"),
    [
        ("/usr/bin/pushcore", ["python", "/usr/bin/pushcore"], True),
        ("pushcore.exe", ["python", "pushcore.exe"], True),
        ("-m", ["python", "-m", "pushcore", "send"], True),
        ("-m", ["python", "-mpushcore"], True),
        ("-m", ["python", "-m", "pytest"], False),
        ("app.py", ["python", "app.py", "pushcore"], False),
    ],
)
def test_which_programs_are_the_command(
    monkeypatch: pytest.MonkeyPatch, program: str, command: list[str], expected: bool
) -> None:
    monkeypatch.setattr(sys, "argv", [program])
    monkeypatch.setattr(sys, "orig_argv", command)
    assert interrupts.is_command() == expected
