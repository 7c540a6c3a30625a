"""The exit status and the one sentence of whatever goes wrong in a command."""

from __future__ import annotations

import json
import os

import click
import pytest

import pushcore
from pushcore.audience.problems import BadInput
from pushcore.cli.main import cli, main
from pushcore.errors import ConfigurationError, JournalError

COMMANDS = [
    "campaign",
    "channels",
    "check",
    "demo",
    "gateway",
    "results",
    "resume",
    "send",
    "status",
    "tokens",
    "worker",
]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException | int | None]:
    """A command `fail` that raises what is in this list, or returns it."""
    outcome: list[BaseException | int | None] = []

    @click.command()
    def fail() -> int | None:
        (found,) = outcome
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setitem(cli.commands, "fail", fail)
    return outcome


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (BadInput("it cannot be\nread"), 2, "it cannot be read"),
        (ConfigurationError("the key\x1b[31m is odd"), 2, r"the key\x1b[31m is odd"),
        (JournalError("there is no journal c.db"), 2, "there is no journal c.db"),
        (click.UsageError("which of them?"), 2, "which of them? (see pushcore fail --help)"),
        (click.ClickException("odd"), 2, "odd"),
        (click.Abort(), 1, "interrupted"),
        (KeyboardInterrupt(), 1, "interrupted"),
        (OSError(28, "No space left on device", "r.csv"), 1, "r.csv: No space left on device"),
        (OSError(28, "No space left on device"), 1, "the system: No space left on device"),
        (MemoryError(), 1, "there is too little memory (see `ulimit -v`, or the limit of the container)"),
        (KeyError("odd"), 1, "internal failure, please report it: KeyError: 'odd'"),
        (BadInput("x" * 2000), 2, "x" * 1000 + "…"),
    ],
)
def test_an_error_is_one_sentence_and_a_status(
    failing: list[BaseException | int | None],
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    words: str,
) -> None:
    failing.append(error)
    assert main(["fail"]) == status
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.lstrip("\n") == f"pushcore: {words}\n"  # click ends the line that has a ^C


def test_a_usage_error_of_no_command_names_the_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> None:
        raise click.UsageError("which of them?")

    monkeypatch.setattr(cli, "main", fail)
    assert main([]) == 2
    assert capsys.readouterr().err == "pushcore: which of them? (see pushcore --help)\n"


@pytest.mark.parametrize(("returned", "status"), [(0, 0), (3, 3), (None, 0)])
def test_the_exit_status_is_the_value_that_a_command_returns(
    failing: list[BaseException | int | None], returned: int | None, status: int
) -> None:
    failing.append(returned)
    assert main(["fail"]) == status


def test_a_usage_error_names_the_command_whose_help_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, where in (
        (["nonsense"], "pushcore"),
        (["status"], "pushcore status"),
        (["channels", "show"], "pushcore channels show"),
    ):
        assert main(arguments) == 2
        assert capsys.readouterr().err.endswith(f" (see {where} --help)\n")


def test_a_reader_that_has_gone_is_no_message_and_nothing_is_written_at_exit(
    failing: list[BaseException | int | None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing.append(BrokenPipeError())
    replaced: list[str] = []

    def opened(path: str, flags: int) -> int:
        replaced.append(path)
        return 99

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "dup2", lambda new, old: replaced.append(f"{new} to {old}"))
    monkeypatch.setattr("sys.stdout", type("Output", (), {"fileno": lambda self: 1})())
    assert main(["fail"]) == 1
    assert replaced == [os.devnull, "99 to 1"]
    assert capsys.readouterr().err == ""


def test_every_command_is_there_with_a_help_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(cli.commands) == COMMANDS
    for name in COMMANDS:
        assert main([name, "-h"]) == 0
        assert capsys.readouterr().out.startswith(f"Usage: pushcore {name} ")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_text_before_the_options_fits_a_screen_and_has_an_example(name: str) -> None:
    text = cli.commands[name].help or ""
    assert len(text.splitlines()) <= 24
    assert f"  pushcore {name} " in text or isinstance(cli.commands[name], click.Group)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.split()[-1] == pushcore.__version__


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["tokens", "missing.csv", "--json"], 2),
        (["check", "--json"], 2),
        (["check", "--json", "--bogus"], 2),
        (["send", "--json", "--audience", "a.csv", "--payload", "p.json"], 2),
        (["status", "missing.db", "--json"], 2),
        (["campaign", "status", "--json"], 2),
    ],
)
def test_an_error_is_an_object_where_one_is_expected(
    words: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == status
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "exit_status": status,
        "message": said.err.removeprefix("pushcore: ").strip(),
    }


def test_an_error_is_no_object_among_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokens", "missing.csv", "--json", "--output", "-"]) == 2
    assert capsys.readouterr().out == ""
