"""Golden texts: what the code does today, kept as files, so that a change shows as a difference.

    same_as_golden("cli/send.txt", text)

A difference is a failure that shows which lines differ. When the change is intended, accept it and read `git diff`:

    GOLDEN=accept python -m pytest tests/golden

The text file is then written and the comparison fails once more, so that no run with that variable passes by accident.
The binary files in `files/` are never accepted in this way: see `make.py`.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent
VARIABLE: Final = "GOLDEN"
MOST_LINES: Final = 60
"""Lines of a difference that are shown."""


def same_as_golden(name: str, text: str) -> None:
    """Fail with a unified difference unless `text` is what the file `name`, below this directory, holds."""
    __tracebackhide__ = True
    path = ROOT / name
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    if text == golden:
        return
    lines = list(
        difflib.unified_diff(
            golden.splitlines(), text.splitlines(), f"golden {name}", "now", lineterm="", n=2
        )
    )
    if len(lines) > MOST_LINES:
        lines[MOST_LINES:] = [f"… and {len(lines) - MOST_LINES} lines more"]
    if os.environ.get(VARIABLE) == "accept":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        end = f"tests/golden/{name} has been rewritten; run again without {VARIABLE}"
    else:
        end = f"tests/golden/{name} is different; {VARIABLE}=accept writes it, if the change is intended"
    pytest.fail("\n".join([*lines, "", end]), pytrace=False)


def golden_names(directory: str) -> set[str]:
    """Names of the text files in a directory: each must belong to a test."""
    return {path.name for path in (ROOT / directory).glob("*.txt")}
