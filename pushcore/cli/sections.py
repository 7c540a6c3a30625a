"""Options in sections, and commands whose help shows them so and whose options have variables of the environment."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import click

from ..audience.problems import BadInput
from ..errors import ConfigurationError
from ..redaction import describe_address, describe_secret
from .origins import unknown_variables, with_origins

ENVIRONMENT: Final = "PUSHCORE"
"""An option --apns-key has the variable PUSHCORE_APNS_KEY."""

_OTHERS: Final = "Others"
_ARGUMENTS: Final = "pushcore.cli.arguments"
_PATHS: Final = ("FILE", "DIR", "AUDIENCE", "JOURNAL", "PAYLOAD")
"""Metavars of what is a path."""

Function = TypeVar("Function", bound=Callable[..., Any])
Decorator = Callable[[Any], Any]


class Seconds(click.FloatRange):
    """A number of seconds: finite, for "nan" and "inf" are numbers to Python."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Called by click."""
        seconds = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


class Option(click.Option):
    """An option of one section.

    `metavar` FILE says that its value is a path. `content`: or what such a file holds, as it may stand in a variable of the
    environment. Any other option refuses key material without repeating it: its value may end in a message.
    """

    def __init__(self, *names: Any, section: str, content: bool = False, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section
        self.content = content

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Called by click, for a value from wherever."""
        if not self.content:
            _refuse_secret(value, self, ctx)
        return super().type_cast_value(ctx, value)


class Argument(click.Argument):
    """An argument, which refuses key material as an option does."""

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Called by click."""
        _refuse_secret(value, self, ctx)
        return super().type_cast_value(ctx, value)


def _refuse_secret(value: Any, parameter: click.Parameter, context: click.Context) -> None:
    for text in value if isinstance(value, tuple | list) else (value,):
        is_path = parameter.metavar in _PATHS
        kind = describe_secret(text) if isinstance(text, str) else None
        if kind is None and is_path and isinstance(text, str):
            kind = describe_address(text)
        if kind is not None:
            wanted = "the path of a file" if is_path else "another value"
            raise click.BadParameter(f"it is {kind}, expected {wanted}", context, parameter)


class Command(click.Command):
    """A command whose help has a heading for each section, and whose errors name the variable or key that is wrong."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Called by click."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Called by click. An error says which variable or which key of a file the option that it names came from."""
        for text in unknown_variables(ctx):
            click.echo(f"pushcore: {text}", err=True)
        try:
            return super().invoke(ctx)
        except (BadInput, ConfigurationError) as error:
            text = with_origins(str(error), ctx)
            if text == str(error):
                raise
            raise (BadInput if isinstance(error, BadInput) else ConfigurationError)(text) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Called by click."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                title = parameter.section if isinstance(parameter, Option) else _OTHERS
                sections.setdefault(title, []).append(record)
        if _OTHERS in sections:
            sections[_OTHERS] = sections.pop(_OTHERS)  # last
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def parse_again(context: click.Context) -> dict[str, Any]:
    """The values of a command's options, from its command line and a settings file as that is now.

    Raises:
        click.UsageError, BadInput: they cannot be read any more.
    """
    arguments = list(context.meta[_ARGUMENTS])
    with context.command.make_context(context.info_name, arguments, context.parent) as again:
        return dict(again.params)


def section(title: str) -> Callable[..., Decorator]:
    """As `click.option`, for options of this section."""
    return partial(click.option, cls=Option, section=title)


option = section(_OTHERS)
"""What `click.option` is, for options of no section."""
argument = partial(click.argument, cls=Argument)
"""What `click.argument` is."""


def command(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """As `click.command`, with sections and variables."""
    return click.command(cls=Command, context_settings={"auto_envvar_prefix": ENVIRONMENT}, **settings)


def add(function: Function, options: tuple[Decorator, ...]) -> Function:
    """The function with these options, shown in this order."""
    for option in reversed(options):
        function = option(function)
    return function
