"""How much of each room the tests of `make coverage` reach: `python -m tests.rooms build/coverage/lines.json`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.table import Table


def rooms(files: dict[str, dict[str, dict[str, int]]]) -> dict[str, tuple[int, int, int, int]]:
    """By folder: lines that were run, lines, branches that were taken, branches; of `coverage json`'s files."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for name, about in files.items():
        numbers = about["summary"]
        keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        room = found[str(PurePosixPath(name).parent)]
        room[:] = [have + numbers[key] for have, key in zip(room, keys, strict=True)]
    return {room: (a, b, c, d) for room, (a, b, c, d) in sorted(found.items())}


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def main(path: str) -> None:
    table = Table("room", box=None, pad_edge=False)
    for title in ("lines", "run", "branches", "taken"):
        table.add_column(title, justify="right")
    found = rooms(json.loads(Path(path).read_text())["files"])
    for room, (run, lines, taken, branches) in found.items():
        table.add_row(room, str(lines), share(run, lines), str(branches), share(taken, branches))
    Console(width=100).print(table)


if __name__ == "__main__":
    main(sys.argv[1])
