"""Reads `gateway.toml`: a mistake in it is one sentence with file and line.

Read by msgspec, as all JSON of the gateway is: one library checks both, in a third of the time that pydantic takes for a push.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from ..audience.problems import BadInput, printable, read_small, shown
from ..redaction import describe_secret, shown_name
from .config import GatewayConfig
from .problems import in_words

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a config file: some thousands of callers."""

PATHS: Final = frozenset(
    (
        *("key", "certificate", "certificate-key", "certificate-password-file", "ca-file", "service-account"),
        *("token-keys", "receipt-keys", "access-token-file", "secret-file"),
    )
)
"""Keys whose values are paths, from the file's directory on."""


def read_config(path: str | os.PathLike[str], *, again: bool = False) -> GatewayConfig:
    """The configuration in a TOML file; relative paths in it are relative to its directory.

    Args:
        path: of the file.
        again: whether it was read before; then it must not be a pipe, because requests would wait for it.

    Returns:
        The configuration.

    Raises:
        BadInput: the file cannot be read or has a mistake; one sentence with its line.
    """
    name = printable(shown_name(os.fspath(path)))
    text = _decode(read_small(os.fspath(path), "a TOML file", MAX_FILE, regular=again), name)
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"\(at line (\d+), .*\)$", str(error))
        number = where[1] if where else text.count("\n") + 1  # "at end of document"
        raise BadInput(f"{name}:{number}: {str(error).partition(' (at ')[0]}") from None
    except RecursionError:
        raise _nested(name) from None
    except ValueError:  # of int()
        raise BadInput(f"{name} has a number of thousands of digits; expected a TOML file") from None
    for own in ("source", "locate"):
        if own in content:
            raise BadInput(f"{Locate(name, text)(own)}: unknown key {own}")
    try:
        return make_config(content, name, Locate(name, text), Path(path).absolute().parent)
    except RecursionError:
        raise _nested(name) from None


def _nested(name: str) -> BadInput:
    return BadInput(f"{name} is nested too deeply; expected a TOML file of apps and callers")


def make_config(content: dict[str, Any], name: str, locate: Locate, directory: Path) -> GatewayConfig:
    """The configuration from the content of a TOML file. Raises the errors of `read_config`."""
    try:
        config = msgspec.convert(
            {**_absolute(content, directory), "source": name, "locate": locate}, GatewayConfig
        )
    except msgspec.ValidationError as error:
        problem = str(error)
    else:
        config.check()
        return config
    # Not inside the handler: the context of the new error would repeat an unknown key, which may be a secret.
    sentence, path = _explain(problem)
    raise BadInput(f"{locate(*path)}: {sentence}")


def _absolute(value: Any, directory: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(item, directory) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: str(directory / item)
        if key in PATHS and isinstance(item, str) and item and describe_secret(item) is None
        else _absolute(item, directory)
        for key, item in value.items()
    }


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8; expected a TOML file") from None


_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*?)`", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(.*?)`", re.DOTALL)
_PART: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def _explain(text: str) -> tuple[str, tuple[str | int, ...]]:
    """msgspec's error in the gateway's words, and the path of the value."""
    sentence, _, path_text = text.partition(" - at `$")
    path = tuple(
        int(index) if index.isdigit() else key for key, index in _PART.findall(path_text.rstrip("`"))
    )
    table = "[" + ".".join(str(part) for part in path if isinstance(part, str)) + "]" if path else "the file"
    if unknown := _UNKNOWN.match(sentence):
        return f"unknown key {shown(unknown[1])} in {table}", (*path, unknown[1])
    if missing := _MISSING.match(sentence):
        return f"{table} has no {missing[1] if path else f'[[{missing[1]}]]'}", path
    key = next((part for part in reversed(path) if isinstance(part, str) and part), "")
    return f"{key}: {in_words(sentence[:1].lower() + sentence[1:])}", path


class Locate:
    """Finds the line of a path in a TOML file: `locate("app", 1, "apns", 0, "key")` is "gateway.toml:12".

    Tables are found by their headers, so values in inline tables have the line of the table's key.
    """

    def __init__(self, name: str, text: str) -> None:
        self._name = name
        self._lines: dict[tuple[str | int, ...], int] = {}
        table: tuple[str | int, ...] = ()
        counts: dict[tuple[str | int, ...], int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                table = self._resolve(header[2], counts)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._lines.setdefault(table, number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, *_parts(key[1])), number)

    @staticmethod
    def _resolve(dotted: str, counts: dict[tuple[str | int, ...], int]) -> tuple[str | int, ...]:
        path: tuple[str | int, ...] = ()
        parts = _parts(dotted)
        for part in parts[:-1]:
            path = (*path, part)
            if path in counts:
                path = (*path, counts[path])
        return (*path, *parts[-1:])

    def __call__(self, *path: str | int) -> str:
        """The file with the line of `path`, or of the nearest table around it, otherwise the first line."""
        while path and path not in self._lines:
            path = path[:-1]
        return f"{self._name}:{self._lines[path] if path else 1}"


_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]")
_KEY: Final = re.compile(r"\s*((?:[A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]
