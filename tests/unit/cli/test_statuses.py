"""Exit statuses: each command's are in one table, which its help shows, and a command ends with none that is not there."""

from __future__ import annotations

import ast
import errno
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import pushcore.cli
from pushcore import ConfigurationError, JournalError
from pushcore.audience.problems import BadInput
from pushcore.cli.main import cli, main
from pushcore.cli.statuses import BAD_INPUT, INCOMPLETE, OK, STATUSES, STOPPED

CODE = Path(pushcore.cli.__file__).parent
STOPPING = {
    "commands/check.py": {"check"},
    "commands/channels.py": {name for name in STATUSES if name.startswith("channels ")},
    "commands/worker.py": {"worker"},
    "run/exit_report.py": {"send", "resume", "demo"},
}
"""The modules that end with STOPPED, and the commands that they end."""


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


COMMANDS = dict(commands(cli))


def test_every_command_is_in_the_table() -> None:
    assert STATUSES.keys() == COMMANDS.keys()
    assert all({OK, INCOMPLETE, BAD_INPUT} <= meanings.keys() for meanings in STATUSES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_the_statuses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    complete = "--help-all" if getattr(COMMANDS[name], "brief", False) else "--help"
    assert main([*name.split(), complete]) == OK
    assert (
        " ".join(capsys.readouterr().out.split()).count(
            " ".join(f"{status} {meaning}" for status, meaning in STATUSES[name].items())
        )
        == 1
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BadInput("x"), BAD_INPUT),
        (ConfigurationError("x"), BAD_INPUT),
        (JournalError("x"), BAD_INPUT),
        (click.UsageError("x"), BAD_INPUT),
        (click.FileError("x"), BAD_INPUT),
        (click.Abort(), INCOMPLETE),
        (KeyboardInterrupt(), INCOMPLETE),
        (OSError(errno.ENOSPC, "full"), INCOMPLETE),
        (RuntimeError("x"), INCOMPLETE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_error_ends_with_a_documented_status(
    name: str,
    error: BaseException,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.setattr(COMMANDS[name], "params", [])
    monkeypatch.setattr(COMMANDS[name], "callback", fail)
    assert main(name.split()) == status
    assert status in STATUSES[name]
    assert capsys.readouterr().err.lstrip().startswith("pushcore: ")


def test_a_wrong_option_ends_with_a_documented_status(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([*name.split(), "--no-such-option"]) == BAD_INPUT
    assert main([]) == BAD_INPUT
    assert main(["no-such-command"]) == BAD_INPUT


def test_the_commands_that_can_be_stopped_say_so() -> None:
    using = {
        file.relative_to(CODE).as_posix()
        for file in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id == "STOPPED" and isinstance(node.ctx, ast.Load)
    } - {"statuses.py"}
    assert using == STOPPING.keys()
    assert set().union(*STOPPING.values()) == {name for name, known in STATUSES.items() if STOPPED in known}


def test_no_other_number_is_an_exit_status() -> None:
    given = {
        ast.unparse(value)
        for file in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"exit", "_exit"}
        for value in node.args
    }
    assert given == {
        "BAD_INPUT",
        "INCOMPLETE",
        "status",
    }  # the last one is a child's own, which is one of these
    assert {status for meanings in STATUSES.values() for status in meanings} == {
        OK,
        INCOMPLETE,
        BAD_INPUT,
        STOPPED,
    }
