"""What a name that is none was perhaps meant to be."""

from __future__ import annotations

import click
import pytest

from pushcore.cli.main import cli
from pushcore.cli.origins import commands, nearest, origin_of, with_origins


@pytest.mark.parametrize(
    ("word", "expected"),
    [("toppic", "; did you mean topic?"), ("TOPIC", "; did you mean topic?"), ("zzzz", ""), ("", "")],
)
def test_the_nearest_word_is_suggested(word: str, expected: str) -> None:
    assert nearest(word, ["topic", "key-id", "rate"]) == expected


def test_a_command_line_option_needs_no_origin() -> None:
    @click.command()
    @click.option("--rate")
    def send(rate: str) -> None:
        """Nothing."""

    with send.make_context("send", ["--rate", "fast"]) as context:
        assert origin_of(context, "rate") is None
        assert with_origins("--rate: fast is none", context) == "--rate: fast is none"


def test_all_commands_are_known() -> None:
    assert {"send", "worker", "create"} <= {command.name for command in commands(cli)}
