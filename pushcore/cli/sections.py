"""Options in sections, and commands with help by section and with an environment variable for each option."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import click

from ..audience.problems import BadInput
from ..errors import ConfigurationError
from ..redaction import describe_address, describe_secret
from .origins import unknown_variables, with_origins
from .process.open_files import check_open_files

ENVIRONMENT: Final = "PUSHCORE"
"""An option --apns-key has the variable PUSHCORE_APNS_KEY."""

_OTHERS: Final = "Others"
_ARGUMENTS: Final = "pushcore.cli.arguments"
_ALL: Final = "pushcore.cli.help_all"
"""The key in a context's `meta` that is set for --help-all."""
_LONG: Final = 20
"""Characters of a wrong number or choice that is not repeated."""
_PATHS: Final = ("FILE", "DIR", "AUDIENCE", "JOURNAL", "PAYLOAD")
"""Metavars of paths."""

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

    The metavar FILE marks a path. `content`: the value may also be the content of such a file, for example from an environment
    variable. All other options reject key material without repeating it, because a value may be quoted in a message. `rare`:
    only `--help-all` shows it.
    """

    def __init__(
        self, *names: Any, section: str, content: bool = False, rare: bool = False, **settings: Any
    ) -> None:
        super().__init__(*names, **settings)
        self.section = section
        self.content = content
        self.rare = rare

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Called by click, for a value of any origin."""
        if not self.content:
            _refuse_secret(value, self, ctx)
        try:
            return super().type_cast_value(ctx, value)
        except click.BadParameter as error:
            if not isinstance(value, str) or len(value) < _LONG:
                raise
            words = error.message.replace(repr(value), f"a text of {len(value)} characters")
        # It is no number and no choice, but maybe a part of a secret; not inside the handler, whose error repeats it.
        raise click.BadParameter(words, ctx, self)


class Argument(click.Argument):
    """An argument, which rejects key material like an option."""

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
    """A command with help by section, and with errors that name the variable or key with the wrong value.

    If it has more than two rare options (`brief`), `--help` leaves them out, and all of its text after a form feed; `--help-all`
    shows everything. `offline`: it reads and writes files only, and needs no event loop.
    """

    def __init__(self, *names: Any, offline: bool = False, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.offline = offline
        self.brief = sum(isinstance(each, Option) and each.rare for each in self.params) > 2

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Called by click."""
        *params, last = super().get_params(ctx)
        return [*params, _HelpAll(), last] if self.brief else [*params, last]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Called by click."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Called by click. Errors name the variable or the key of a file from which an option has its value."""
        for text in unknown_variables(ctx):
            click.echo(f"pushcore: {text}", err=True)
        if not self.offline:
            check_open_files()
        try:
            return super().invoke(ctx)
        except (BadInput, ConfigurationError) as error:
            text = with_origins(str(error), ctx)
            if text == str(error):
                raise
            raise (BadInput if isinstance(error, BadInput) else ConfigurationError)(text) from None

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Called by click."""
        if self.brief and not ctx.meta.get(_ALL):
            super().format_help_text(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(inspect.cleandoc(self.help or "").replace("\f", ""))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Called by click."""
        sections: dict[str, list[tuple[str, str]]] = {}
        show_all = not self.brief or ctx.meta.get(_ALL, False)
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None and (show_all or not (isinstance(parameter, Option) and parameter.rare)):
                title = parameter.section if isinstance(parameter, Option) else _OTHERS
                sections.setdefault(title, []).append(record)
        if _OTHERS in sections:
            sections[_OTHERS] = sections.pop(_OTHERS)  # last
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


class _HelpAll(click.Option):
    """`--help-all`."""

    def __init__(self) -> None:
        super().__init__(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            allow_from_autoenv=False,
            callback=self._show,
            help="Show the complete help, with all options.",
        )

    @staticmethod
    def _show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            context.meta[_ALL] = True
            click.echo(context.get_help(), color=context.color)
            context.exit()


def parse_again(context: click.Context) -> dict[str, Any]:
    """The values of a command's options, from its command line and the present content of its settings file.

    Raises:
        click.UsageError, BadInput: they have become invalid.
    """
    arguments = list(context.meta[_ARGUMENTS])
    with context.command.make_context(context.info_name, arguments, context.parent) as again:
        return dict(again.params)


def section(title: str, *, rare: bool = False) -> Callable[..., Decorator]:
    """Like `click.option`, for options of this section."""
    return partial(click.option, cls=Option, section=title, rare=rare)


option = section(_OTHERS)
"""Like `click.option`, for options without a section."""
argument = partial(click.argument, cls=Argument)
"""Like `click.argument`."""


def command(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Like `click.command`, with sections and variables."""
    return click.command(cls=Command, context_settings={"auto_envvar_prefix": ENVIRONMENT}, **settings)


def add(function: Function, options: tuple[Decorator, ...]) -> Function:
    """The function with these options, shown in this order."""
    for option in reversed(options):
        function = option(function)
    return function
