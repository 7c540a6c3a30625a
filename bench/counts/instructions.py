"""Instructions of a push, counted by callgrind without a server: nearly the same in every run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..harness.checkouts import Checkout
from ..harness.stage import CLIENT_CORE, SERVER_CORE, CannotMeasure, start_on
from . import instructed

LONGEST: Final = 900.0  # seconds
Counts = dict[tuple[str, str], list[float]]
"""By provider and case: instructions per push, one figure for each pair of phases."""


def why_not() -> str | None:
    """Why instructions cannot be counted here; None if they can."""
    return None if shutil.which("valgrind") else "valgrind is missing: Debian's package valgrind"


@dataclass(frozen=True, slots=True)
class CountedProgram:
    """What callgrind runs: a program that marks its phases as `instructed` does. `words`: its command line."""

    name: str
    words: Sequence[str]
    root: Path
    environment: Mapping[str, str]


def count(sides: Sequence[Checkout], providers: Sequence[str]) -> list[Counts]:
    """Instructions per push of each side. Both run at the same time, as counts do not depend on the time.

    Raises:
        CannotMeasure: a side failed or took too long, or its phases cannot be told apart.
    """
    # Without -P the files beside the program could be imported by their names.
    words = ("-P", str(Path(instructed.__file__)), *providers)
    return count_programs(
        [CountedProgram(side.name, (side.python, *words), side.root, side.environment(0)) for side in sides]
    )


def count_programs(programs: Sequence[CountedProgram]) -> list[Counts]:
    """Instructions per push of each program, all at the same time.

    Raises:
        CannotMeasure: as `count`.
    """
    with tempfile.TemporaryDirectory() as directory:
        places = [Path(directory) / str(number) for number in range(len(programs))]
        processes: list[subprocess.Popen[str]] = []
        try:
            for number, (program, place) in enumerate(zip(programs, places, strict=True)):
                place.mkdir()
                processes.append(_start(program, SERVER_CORE if number % 2 else CLIENT_CORE, place))
            return [
                _finish(program, process, place)
                for program, process, place in zip(programs, processes, places, strict=True)
            ]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.communicate()


def _start(program: CountedProgram, core: int, place: Path) -> subprocess.Popen[str]:
    command = ["valgrind", "--quiet", "--tool=callgrind", f"--dump-before={instructed.MARK}"]
    command += [f"--callgrind-out-file={place / 'out'}", *program.words]
    pipe = subprocess.PIPE
    return start_on(core, command, cwd=program.root, env=dict(program.environment), stdout=pipe, stderr=pipe)


def _finish(program: CountedProgram, process: subprocess.Popen[str], place: Path) -> Counts:
    try:
        text, errors = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise CannotMeasure(
            f"counting instructions of {program.name} took longer than {LONGEST:.0f} s"
        ) from None
    if process.returncode:
        raise CannotMeasure(f"counting instructions of {program.name} failed: {errors.strip()[-500:]}")
    dumps = sorted(place.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    return per_push(text, [_total(dump) for dump in dumps])


def per_push(text: str, totals: Sequence[int]) -> Counts:
    """Instructions per push, from the output of `instructed`.

    Args:
        text: a line with provider and case for each case.
        totals: instructions between two marks. A case begins with those before its first phase.
    """
    cases = [tuple(line.split()) for line in text.splitlines()]
    size = 1 + instructed.PHASES
    if len(totals) != size * len(cases):
        raise CannotMeasure(f"callgrind saw {len(totals)} marks where {size * len(cases)} are set")
    pushes = instructed.LONG - instructed.SHORT
    counts: Counts = {}
    for number, (provider, case) in enumerate(cases):
        phases = totals[number * size + 1 : (number + 1) * size]
        differences = zip(phases[::2], phases[1::2], strict=True)
        counts[provider, case] = [(long - short) / pushes for short, long in differences]
    return counts


def _total(dump: Path) -> int:
    match = re.search(r"^totals: (\d+)", dump.read_text(), re.MULTILINE)
    if match is None:
        raise CannotMeasure("callgrind wrote a file without a total")
    return int(match[1])
