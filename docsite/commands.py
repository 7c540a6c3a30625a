"""Every command with its help and its options, from click and argparse."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click

from docsite.markdown import code, table
from pushcore.cli.main import cli
from pushcore.cli.sections import ENVIRONMENT, Option


def commands() -> str:
    """The page of `pushcore` and all its commands."""
    parts = [
        "# Commands\n",
        "`--help` of a command shows its usual options; this page, like `--help-all`, shows all of them. An option with a variable",
        "in the table can also be set by this environment variable, or by a key in the file of `--config`. The command line has",
        "precedence over the environment, the environment over `[profile.NAME]`, and that over `[send]`.\n",
    ]
    for path, command, context in _walk(
        cli, click.Context(cli, info_name="pushcore", **cli.context_settings)
    ):
        parts += [f"## {path}\n", _help(command, context), _options(command, context)]
    return "\n".join(parts)


def _walk(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            child = command.commands[name]
            settings = {
                key: value for key, value in child.context_settings.items() if key == "auto_envvar_prefix"
            }
            yield from _walk(child, click.Context(child, info_name=name, parent=context, **settings))
    else:
        yield context.command_path, command, context


def _help(command: click.Command, context: click.Context) -> str:
    r"""The help as Markdown: a paragraph after \b, which click does not wrap, is a block."""
    parts = [code(command.get_usage(context).removeprefix("Usage: "))]
    for paragraph in (command.help or "").replace("\f", "").split("\n\n"):
        kept = paragraph.strip("\n").startswith("\b")
        parts.append(
            code(paragraph.replace("\b\n", "").strip("\n")) if kept else f"{_escaped(paragraph.strip())}\n"
        )
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return re.sub(r"([<*\[\]_{}])", r"\\\1", text)


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            record = parameter.get_help_record(context)
            if record is not None:
                names, about = record
                rows.append((f"`{names}`", _escaped(about), _variable(parameter, context)))
    return table(("option", "what it does", "variable"), rows) if rows else ""


def _variable(option: click.Option, context: click.Context) -> str:
    if not isinstance(option, Option) or context.auto_envvar_prefix is None or option.name is None:
        return ""
    return f"`{ENVIRONMENT}_{option.name.upper()}`"


def fake_commands() -> str:
    """The page of `python -m fakeservers`: each service's help, as it is printed."""
    parts = ["# The fakes' command\n"]
    for service in ("apns", "fcm", "all"):
        words = [sys.executable, "-m", "fakeservers", service, "--help"]
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
        parts += [f"## fakeservers {service}\n", code(said.stdout)]
    return "\n".join(parts)
