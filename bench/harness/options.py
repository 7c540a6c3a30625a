"""What the commands of `python -m bench` have in common: options, and the output of their rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from . import look, promises
from .providers import PROVIDERS
from .stage import interpreter, machine

Decorator = Callable[[Any], Any]

console: Final = Console(stderr=True, width=None if sys.stderr.isatty() else 200)


def keep(name: str, rows: list[dict[str, Any]], file: Path | None) -> None:
    """Print which promised bounds the rows meet, and write the rows to the file if one was named."""
    told = promises.judge(name, rows)
    if told:
        look.show(console, promises.FORM, told)
    say_interpreter()
    if file is not None:
        words = iter(sys.argv[1:])
        # The path of the rows is of no use elsewhere.
        typed = [word for word in words if not (word == "--json" and next(words, None) is not None)]
        command = " ".join(["python -m bench", *(word for word in typed if not word.startswith("--json="))])
        look.write(file, machine(), [{"measurement": name, "command": command} | row for row in rows])


def say_interpreter() -> None:
    """Print the build of the interpreter: an optimised one needs a fifth less CPU for the same push."""
    console.print(f"Python {interpreter()}", markup=False)


def count(default: int, help: str = "Notifications in each run.") -> Decorator:
    """`--count`."""
    return click.option("--count", default=default, type=click.IntRange(1), show_default=True, help=help)


def runs(default: int, help: str = "Runs of each; medians are shown.") -> Decorator:
    """`--runs`."""
    return click.option("--runs", default=default, type=click.IntRange(1, 100), show_default=True, help=help)


def seconds(default: float, help: str) -> Decorator:
    """`--seconds`."""
    kind = click.FloatRange(0.01, 600)
    return click.option("--seconds", default=default, type=kind, show_default=True, help=help)


def several(name: str, destination: str, kind: Any, help: str) -> Decorator:
    """An option that may be repeated."""
    return click.option(name, destination, multiple=True, type=kind, help=help)


json_file: Final = click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Also write the rows here."
)
provider: Final = click.option(
    "--provider", type=click.Choice(list(PROVIDERS)), default="apns", show_default=True, help="Whose server."
)
target: Final = click.option(
    "--target",
    "kind",
    type=click.Choice(["auto", "c", "bare"]),
    default="auto",
    show_default=True,
    help="The server: the constant-answer one in C (auto: where it can be built), or our bare fake.",
)
