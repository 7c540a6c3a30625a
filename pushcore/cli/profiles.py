"""Settings from a TOML file: `[send]` for every run, and `[profile.NAME]` for runs with `--profile NAME`.

    [send]
    apns-key = "AuthKey_ABC123DEFG.p8"     # the options without leading dashes; paths are relative to the file
    key-id = "ABC123DEFG"

    [profile.sandbox]
    environment = "sandbox"

The order of precedence: command line, environment, `[profile.NAME]`, `[send]`, defaults.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from ..audience.problems import BadInput, printable, read_small, shown
from ..redaction import describe_secret, shown_name
from .origins import SETTINGS_FILE, nearest
from .sections import Function, Option, add, section

MAX_FILE: Final = 1024 * 1024
"""Bytes of a settings file, at most."""
_EXPECTED: Final = "a TOML file with a table [send]"
_KEY: Final = "pushcore.cli.profiles"
_NO_SETTINGS: Final = frozenset({"config", "profile", "help"})
_BOOLEAN: Final = "true or false"

Settings = dict[str, Any]


def settings_options(function: Function) -> Function:
    """Add --config and --profile; the settings that they name become the defaults of the other options."""
    return add(function, _OPTIONS)


def _remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Called for --config and --profile before all other options, in any order; read the settings after the second call."""
    given = context.meta.setdefault(_KEY, {})
    given[parameter.name] = value
    if len(given) < 2 or context.resilient_parsing:
        return
    config, profile = given["config"], given["profile"]
    if config is not None:
        context.default_map = read_settings(config, profile, context)
        context.meta[SETTINGS_FILE] = printable(shown_name(config))
    elif profile is not None:
        raise BadInput("--profile needs --config FILE")


_settings = section("Settings")
_OPTIONS: Final = (
    _settings(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="TOML file with options in a table [send].",
    ),
    _settings(
        "--profile",
        rare=True,
        metavar="NAME",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        help="Prefer the options of the table [profile.NAME].",
    ),
)


def read_settings(path: str, profile: str | None, context: click.Context) -> Settings:
    """The values in a settings file for the command of `context`, by click's names of the options.

    Raises:
        BadInput: it cannot be read, has no such profile, or has a key that is not an option of any command.
    """
    name = printable(shown_name(path))
    try:
        document = tomllib.loads(read_small(path, _EXPECTED, MAX_FILE).decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8; expected {_EXPECTED}") from None
    except (ValueError, RecursionError) as error:  # int() has no more than 4300 digits
        raise BadInput(f"{name} is not TOML ({printable(str(error), 120)}); expected {_EXPECTED}") from None
    for key in document:
        if key not in ("send", "profile"):
            meant = nearest(key, ("send", "profile"))
            raise BadInput(f"{name} has {shown(key)}, expected only [send] and [profile.NAME]{meant}")
    tables = {"[send]": _table(document, "send", name)}
    profiles = _table(document, "profile", name)
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(profiles) or "none"
            meant = printable(nearest(profile, profiles), 100)
            raise BadInput(f"{name} has no profile {shown(profile)}; it has {shown(known)}{meant}")
        tables[f"[profile.{printable(profile, 40)}]"] = _table(profiles, profile, name)
    mine = {parameter.name for parameter in context.command.params}
    every = _options_of_all(context)
    settings: Settings = {}
    for title, table in tables.items():
        for key, value in table.items():
            parameter = every.get(key.replace("-", "_"))
            if parameter is None:
                meant = nearest(key, [option.replace("_", "-") for option in every])
                raise BadInput(
                    f"{name}: {title} has an unknown key {shown(key)}; expected options of send{meant}"
                )
            where = f"{name}: {title} {printable(key)}"
            value = _value(value, parameter, Path(path).parent, where)
            _check(value, parameter, context, where)
            if parameter.name in mine:
                settings[str(parameter.name)] = value
    return settings


def _table(tables: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    table = tables.get(key, {})
    if not isinstance(table, dict):
        raise BadInput(f"{name}: {shown(key)} is not a table; expected {_EXPECTED}")
    return table


def _options_of_all(context: click.Context) -> dict[str, click.Parameter]:
    """The options of all commands: a file may have settings for several commands."""
    return {
        str(parameter.name): parameter
        for command in (*_commands(context.find_root().command), context.command)
        for parameter in command.params
        if isinstance(parameter, Option) and parameter.name not in _NO_SETTINGS
    }


def _commands(group: click.Command) -> Iterator[click.Command]:
    for command in group.commands.values() if isinstance(group, click.Group) else ():
        yield from _commands(command)
        yield command


def _value(value: Any, parameter: click.Parameter, place: Path, where: str) -> Any:
    assert isinstance(parameter, click.Option)
    if parameter.is_flag != isinstance(value, bool):
        expected = _BOOLEAN if parameter.is_flag else "a text or a number"
        raise BadInput(f"{where} cannot be {_kind(value)}; expected {expected}")
    if not isinstance(value, str | int | float):
        raise BadInput(f"{where} cannot be {_kind(value)}; expected a text or a number")
    if isinstance(value, float) and isinstance(parameter.type, click.types.IntParamType):
        # click would cut off the decimals.
        raise BadInput(f"{where} cannot have a decimal point; expected a whole number")
    if (
        parameter.metavar == "FILE"
        and isinstance(value, str)
        and value != "-"
        and describe_secret(value) is None
    ):
        return str(place / value)
    return value


def _check(value: Any, parameter: click.Parameter, context: click.Context, where: str) -> None:
    """Raise `BadInput` if the option does not accept the value. An error of click would not name the file."""
    if "\0" in str(value):
        raise BadInput(f"{where} holds a NUL character")
    try:
        parameter.type_cast_value(context, value)
    except click.BadParameter as error:
        choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
        # Of a number, click shows the float that it has made of it, at the beginning.
        shown = repr(value) if isinstance(value, str) else error.message.partition(" is not ")[0]
        words = error.message.replace(shown, "its value", 1).rstrip(".")
        raise BadInput(
            f"{where}: Invalid value for '{parameter.opts[0]}': {words}{nearest(str(value), [str(choice) for choice in choices])}"
        ) from None
    except OverflowError:  # of an option with a decimal point
        raise BadInput(f"{where}: Invalid value for '{parameter.opts[0]}': its value is too large") from None


def _kind(value: object) -> str:
    """The type of a value, without its content, which may be a secret."""
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else "a time"
