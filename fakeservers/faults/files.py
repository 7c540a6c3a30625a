"""Plans in files: TOML or JSON, and the line of a mistake."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from fakeservers.faults.reading import FaultError
from fakeservers.serving.small_files import read_small


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A file that has been read. `table`: its content, not checked yet."""

    name: str
    table: Any
    text: str
    is_json: bool

    def located(self, error: FaultError) -> FaultError:
        """The same error, with the name of the file and the line."""
        line = (_line_in_json if self.is_json else _line_in_toml)(self.text, error.index, error.key)
        return FaultError(f"{self.name}, line {line}: {error}", index=error.index, key=error.key)


def read_file(path: str | os.PathLike[str]) -> PlanFile:
    """A plan's file: TOML, or JSON when its name ends in `.json`.

    Raises:
        FaultError: it cannot be read, or is neither; the message names the file, and the line where there is one.
    """
    name = os.fspath(path)
    try:
        text = read_small(path).decode("utf-8-sig")
    except OSError as error:
        raise FaultError(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FaultError(f"{name} is no text: {error.reason} at byte {error.start}") from None
    except ValueError as error:
        raise FaultError(f"{name} cannot be read: {error}") from None
    is_json = name.lower().endswith(".json")
    try:
        table = json.loads(text) if is_json else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise FaultError(f"{name}, line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
    except tomllib.TOMLDecodeError as error:
        position = re.search(r"(.*) \(at (line \d+, column \d+)\)", str(error))
        where, words = (f", {position[2]}", position[1]) if position else ("", str(error))
        raise FaultError(f"{name}{where}: no TOML: {words}") from None
    except ValueError:  # of int()
        raise FaultError(f"{name} has a number of thousands of digits") from None
    except RecursionError:
        raise FaultError(f"{name} is nested too deeply") from None
    return PlanFile(name, table, text, is_json)


def _line_in_toml(text: str, index: int | None, key: str) -> int:
    """The line of the key within the fault's `[[faults]]`; the line of `[[faults]]` when the key is not found."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*faults\s*\]\]", line)]
    first, last = 0, len(lines)
    if index is not None and index < len(starts):
        first = starts[index]
        last = starts[index + 1] if index + 1 < len(starts) else len(lines)
    elif starts and index is None:
        last = starts[0]
    return 1 + _find(lines, first, last, rf'(?<![\w"-])"?{re.escape(key)}"?\s*[=\].]', key)


def _line_in_json(text: str, index: int | None, key: str) -> int:
    """The same for JSON: within the fault's object."""
    lines = text.splitlines()
    first, last = 0, len(lines)
    opening = re.search(r'"faults"\s*:\s*\[\s*', text)
    if index is not None and opening is not None:
        decoder, at = json.JSONDecoder(), opening.end()
        for _ in range(index):
            _, at = decoder.raw_decode(text, at)
            at = re.compile(r"[\s,]*").match(text, at).end()  # type: ignore[union-attr]  # it always matches, possibly an empty string
        _, end = decoder.raw_decode(text, at)
        first, last = text.count("\n", 0, at), text.count("\n", 0, end) + 1
    return 1 + _find(lines, first, last, rf'"{re.escape(key)}"\s*:', key)


def _find(lines: list[str], first: int, last: int, pattern: str, key: str) -> int:
    if key:
        for number in range(first, last):
            if re.search(pattern, lines[number]):
                return number
    return first
