"""The page of exit statuses: each command's from its own table, and what to do from the operators' guide."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from docsite.markdown import table
from pushcore.cli.statuses import STATUSES

OPERATORS: Final = Path(__file__).parents[1] / "docs" / "operations" / "operators.md"


def what_to_do() -> dict[int, str]:
    """What an operator does after each status, as the operators' guide says."""
    section = OPERATORS.read_text(encoding="utf-8").partition("## Exit statuses")[2].partition("\n## ")[0]
    return {
        int(status): text
        for status, text in re.findall(r"^\| (\d) \|[^|]*\| (.*) \|$", section, re.MULTILINE)
    }


def exit_statuses_page() -> str:
    """A table of what to do, and a table for each command."""
    parts = [
        "# Exit statuses\n",
        "A command ends with one of four statuses. Its message on the standard error, after `pushcore: `, says why; search for its words",
        "in [Errors](errors.md) and [Messages](messages.md).\n",
        table(("status", "what to do"), [(str(status), text) for status, text in what_to_do().items()]),
        "",
        "A status above 128 is that of a shell for a process that was ended by a signal: 130 by Ctrl-C during its start, 137 by kill -9.\n",
    ]
    for command, meanings in STATUSES.items():
        parts += [f"## pushcore {command}\n"]
        parts += [
            table(("status", "meaning"), [(str(status), text) for status, text in meanings.items()]),
            "",
        ]
    return "\n".join(parts)
