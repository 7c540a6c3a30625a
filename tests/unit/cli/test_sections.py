"""Options in sections: their help, their variables and their order."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from pushcore.cli.main import cli, main
from pushcore.cli.sections import Command, Option, Seconds, add, command, section

_second = section("Second")
_first = section("First")


@command(help="A command.")
@_second("--two", metavar="N", type=int, help="The second.")
@click.option("--plain", is_flag=True, help="Of no section.")
@_first("--one", metavar="FILE", help="The first.")
@_second("--hidden", hidden=True)
def example(two: int | None, plain: bool, one: str | None, hidden: str | None) -> None:
    """Says what it was given."""
    click.echo(f"{two} {plain} {one}")


def test_a_section_stands_where_its_first_option_does_and_what_has_none_is_last() -> None:
    said = CliRunner().invoke(example, ["--help"]).output
    assert re.findall(r"^(\w+):", said, re.MULTILINE) == ["Usage", "Second", "First", "Others"]
    assert "--hidden" not in said
    others = said.partition("Others:")[2]
    assert "--plain" in others
    assert "--help" in others
    assert "--two N" in said.partition("Second:")[2].partition("First:")[0]


def test_every_option_has_a_variable_and_the_command_line_goes_before_it() -> None:
    runner = CliRunner(env={"PUSHCORE_TWO": "2", "PUSHCORE_PLAIN": "1"})
    assert runner.invoke(example, []).output == "2 True None\n"
    assert runner.invoke(example, ["--two", "3"]).output == "3 True None\n"


def test_a_variable_that_cannot_be_is_told_as_its_option() -> None:
    found = CliRunner(env={"PUSHCORE_TWO": "many"}).invoke(example, [])
    assert found.exit_code == 2
    assert "'--two'" in found.output


def test_an_option_knows_its_section() -> None:
    assert isinstance(example, Command)
    sections = {each.name: each.section for each in example.params if isinstance(each, Option)}
    assert sections == {"two": "Second", "one": "First", "hidden": "Second"}


def test_options_that_are_added_stand_in_their_order() -> None:
    @command()
    def made(**options: object) -> None:
        """Nothing."""

    def plain(**options: object) -> None:
        """Nothing."""

    added = command()(add(plain, (_first("--a"), _first("--b"), _second("--c"))))
    assert [each.name for each in added.params] == ["a", "b", "c"]
    assert made.params == []


@pytest.mark.parametrize(
    ("command", "sections"),
    [
        (
            "send",
            ["Audience and results", "Payload", "APNs", "FCM", "Network", "Sending", "Settings", "Others"],
        ),
        ("check", ["APNs", "FCM", "Network", "Settings", "Others"]),
        ("tokens", ["Audience and results", "Others"]),
    ],
)
def test_help_has_sections(command: str, sections: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = cli.commands[command]
    assert main([command, "--help-all" if isinstance(found, Command) and found.brief else "--help"]) == 0
    said = capsys.readouterr().out
    titles = re.findall(r"^([A-Z][A-Za-z ]+):$", said, re.MULTILINE)
    assert [each for each in titles if each != "Exit status"] == sections
    assert "--help" in said.rpartition("Others:")[2]
    options = {name for each in found.params for name in each.opts if name.startswith("--")}
    assert options <= set(re.findall(r"--[a-z0-9-]+", said))


@command(help="A command.\n\n\f\b\nExit status:\n  0  done")
@_first("--one", metavar="N", help="The first.")
@_first("--two", rare=True, metavar="N", help="The second.")
@_second("--three", rare=True, metavar="N", help="The third.")
@_second("--four", rare=True, metavar="N", help="The fourth.")
def with_rare_options(**values: object) -> None:
    """Says what it was given."""
    click.echo(values)


def test_help_leaves_out_rare_options_and_the_text_after_a_form_feed() -> None:
    said = CliRunner().invoke(with_rare_options, ["--help"]).output
    assert re.findall(r"--[a-z-]+", said) == ["--one", "--help-all", "--help"]
    assert "Second:" not in said
    assert "Exit status" not in said


@pytest.mark.parametrize("arguments", [["--help-all"], ["--two", "2", "--help-all"]], ids=["alone", "last"])
def test_the_complete_help_has_everything(arguments: list[str]) -> None:
    done = CliRunner().invoke(with_rare_options, arguments)
    assert done.exit_code == 0
    assert re.findall(r"--[a-z-]+", done.output) == [
        "--one",
        "--two",
        "--three",
        "--four",
        "--help-all",
        "--help",
    ]
    assert "  Exit status:\n    0  done\n" in done.output


def test_two_rare_options_are_shown() -> None:
    @command(help="A command.\n\n\f\b\nExit status:\n  0  done")
    @_first("--one", rare=True, metavar="N", help="The first.")
    @_first("--two", rare=True, metavar="N", help="The second.")
    def made(**values: object) -> None:
        """Nothing."""

    said = CliRunner().invoke(made, ["--help"]).output
    assert re.findall(r"--[a-z-]+", said) == ["--one", "--two", "--help"]
    assert "  Exit status:\n    0  done\n" in said


def test_the_complete_help_is_no_setting() -> None:
    done = CliRunner(env={"PUSHCORE_HELP_ALL": "1"}).invoke(with_rare_options, ["--one", "1"])
    assert done.output == "{'one': '1', 'two': None, 'three': None, 'four': None}\n"


GROUPS: list[tuple[str, ...]] = [(), ("campaign",), ("channels",)]


def paths(group: click.Group = cli, *above: str) -> Iterator[tuple[str, ...]]:
    for name, each in sorted(group.commands.items()):
        yield *above, name
        if isinstance(each, click.Group):
            yield from paths(each, *above, name)


@pytest.mark.parametrize("words", [(), *paths()], ids=" ".join)
def test_help_fits_one_screen_and_has_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*words, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 80
    assert f"    {' '.join(('pushcore', *words))} " in "\n".join(lines) or words in GROUPS
    cut = [line for line in lines[1:] if line.endswith("...") and not line.startswith("    ")]
    assert cut == [], "summaries of commands are cut"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "-1", "0"])
def test_seconds_are_a_finite_number(value: str) -> None:
    @command()
    @section("First")("--seconds", type=Seconds(min=0, min_open=True))
    def made(seconds: float) -> None:
        click.echo(seconds)

    found = CliRunner().invoke(made, ["--seconds", value])
    assert found.exit_code == 2
    assert "Invalid value for '--seconds'" in found.output
    assert CliRunner().invoke(made, ["--seconds", "0.5"]).output == "0.5\n"


def test_help_without_any_other_option_has_no_heading_for_them() -> None:
    @command(add_help_option=False)
    @section("First")("--seconds")
    def made(seconds: str) -> None:
        """Something."""

    help_text = made.get_help(click.Context(made))
    assert "First:" in help_text
    assert "Others" not in help_text
