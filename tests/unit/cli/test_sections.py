"""Options in sections: their help, their variables and their order."""

from __future__ import annotations

import re

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
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    found = re.findall(r"^([A-Z][A-Za-z ]+):$", said, re.MULTILINE)
    assert [each for each in found if each != "Exit status"] == sections
    assert "--help" in said.rpartition("Others:")[2]
    options = {name for each in cli.commands[command].params for name in each.opts if name.startswith("--")}
    assert options <= set(re.findall(r"--[a-z0-9-]+", said))


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
