"""The origin of an option's value, for messages: an environment variable or a key of a settings file. Suggestions for
misspelt names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator

import click
from click.core import ParameterSource

from ..audience.problems import printable
from ..redaction import shown_name

SETTINGS_FILE = "pushcore.cli.settings_file"
"""The key in a context's `meta` for the name of the settings file."""
_PREFIX = "PUSHCORE_"
_OPTION = re.compile(r"--[a-z][a-z0-9-]+")
_ARGUMENT = re.compile(r"^(?:the options cannot work: the )?([a-z]+(?:_[a-z]+)*) (?:must|is|of)\b")
"""A message of the library begins with the name of its argument."""
_LIKE = 0.8  # of difflib: one letter added, missing or wrong in words of five letters or more


def nearest(word: str, known: Iterable[str]) -> str:
    """A suggestion for a misspelt word, to append to a message; empty if no known word is similar."""
    matches = difflib.get_close_matches(word.lower(), known, 1, 0.6)
    return f"; did you mean {matches[0]}?" if matches else ""


def origin_of(context: click.Context, name: str) -> str | None:
    """The origin of an option's value, if not the command line: never the value itself."""
    source = context.get_parameter_source(name)
    if source is ParameterSource.ENVIRONMENT:
        return f"the variable {_PREFIX}{name.upper()}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"the key {name.replace('_', '-')} of {context.meta.get(SETTINGS_FILE, 'the settings file')}"
    return None


def with_origins(text: str, context: click.Context) -> str:
    """A message with the origins of the options that it names, or of the values that it quotes."""
    named = set(_OPTION.findall(text))
    argument = _ARGUMENT.match(text)
    origins = []
    for parameter in context.command.params:
        name = str(parameter.name)
        value = context.params.get(name)
        quoted = isinstance(value, str) and len(value) > 3 and printable(shown_name(value)) in text
        # The library has one word for --apns-url and --fcm-url.
        meant = value is not None and argument is not None and f"_{name}".endswith(f"_{argument[1]}")
        if quoted or meant or named & set(parameter.opts):
            origin = origin_of(context, name)
            if origin is not None:
                is_named = meant or named & set(parameter.opts)
                origins.append(f"{parameter.opts[0]} is {origin}" if is_named else f"from {origin}")
    return f"{text} ({'; '.join(origins)})" if origins else text


def unknown_variables(context: click.Context) -> Iterator[str]:
    """A sentence for each environment variable with nearly the name of an option's variable: it would have no effect."""
    known = {
        str(parameter.name).upper()
        for command in commands(context.find_root().command)
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }
    for variable in sorted(os.environ):
        word = variable.removeprefix(_PREFIX)
        if word == variable or word in known:
            continue
        meant = difflib.get_close_matches(word, known, 1, _LIKE)
        if meant:
            yield f"{printable(variable)} is not the variable of an option; did you mean {_PREFIX}{meant[0]}?"


def commands(command: click.Command) -> Iterator[click.Command]:
    """A command and all its subcommands."""
    yield command
    for one in command.commands.values() if isinstance(command, click.Group) else ():
        yield from commands(one)
