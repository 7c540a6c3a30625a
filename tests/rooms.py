"""How much of each room the tests of `make coverage` reach: `python -m tests.rooms build/coverage/lines.json [--raise]`.

A room's share of branches that are taken has a floor, in tests/floors.json: below it the exit status is 1. `--raise` writes the shares of
today in whole per cents, where they are higher: a floor only rises. "pushcore" is the whole package. These are the tests of `make unit`
alone; what tests/e2e reaches with processes and real servers is not counted.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from rich.console import Console
from rich.table import Table

FLOORS: Final = Path(__file__).with_name("floors.json")
WHOLE: Final = "pushcore"
Numbers = tuple[int, int, int, int]
"""Lines that were run, lines, branches that were taken, branches."""


def rooms(files: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Numbers]:
    """By folder, of `coverage json`'s files. "pushcore" has its own files and those of all folders in it."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for name, about in files.items():
        numbers = about["summary"]
        keys = ("covered_lines", "num_statements", "covered_branches", "num_branches")
        for room in {str(PurePosixPath(name).parent), WHOLE}:
            found[room] = [have + numbers[key] for have, key in zip(found[room], keys, strict=True)]
    return {room: (a, b, c, d) for room, (a, b, c, d) in sorted(found.items())}


def share(part: int, whole: int) -> float:
    """Per cent, cut to a tenth; 100 of nothing."""
    return math.floor(1000 * part / whole) / 10 if whole else 100.0


def below(found: Mapping[str, Numbers], floors: Mapping[str, float]) -> list[str]:
    """A sentence for each room that has fallen below its floor, or is gone, or has none."""
    wrong = [f"{room} has no floor: run with --raise" for room in found if room not in floors]
    for room, floor in floors.items():
        if room not in found:
            wrong.append(f"{room} has a floor of {floor} % and no files: take it out of {FLOORS.name}")
        elif share(*found[room][2:]) < floor:
            wrong.append(
                f"{room}: {share(*found[room][2:])} % of the branches are taken, its floor is {floor} %"
            )
    return wrong


def raised(found: Mapping[str, Numbers], floors: Mapping[str, float]) -> dict[str, float]:
    """The floors that hold from now on."""
    return {
        room: max(math.floor(share(*numbers[2:])), floors.get(room, 0)) for room, numbers in found.items()
    }


def main(arguments: Sequence[str]) -> int:
    """Show the table; 1 when a room is below its floor."""
    found = rooms(json.loads(Path(arguments[0]).read_text())["files"])
    floors: dict[str, float] = json.loads(FLOORS.read_text()) if FLOORS.exists() else {}
    if "--raise" in arguments:
        floors = raised(found, floors)
        FLOORS.write_text(json.dumps(floors, indent=2) + "\n")
    table = Table("room", box=None, pad_edge=False)
    for title in ("lines", "run", "branches", "taken", "floor"):
        table.add_column(title, justify="right")
    for room, (run, lines, taken, branches) in found.items():
        numbers = (
            lines,
            f"{share(run, lines)} %",
            branches,
            f"{share(taken, branches)} %",
            f"{floors.get(room, 0)} %",
        )
        table.add_row(room, *map(str, numbers))
    Console(width=100).print(table)
    wrong = below(found, floors)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
