"""Pushes in phases that callgrind can tell apart: what `bench.counts.instructions` runs in the environment of each commit.

`python instructed.py PROVIDER …` runs each case of `bench.counting` in short and long phases, with responses in the process.
`getppid`, which nothing else here calls, marks the beginning and the end of a phase. It prints a line for each case. It
imports the `bench` of the commit, so it uses little of it: `inprocess.install`, and `CASES` of `counting`, with `make` and
`send` of its senders.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from contextlib import AbstractAsyncContextManager
from typing import Final

from bench import counting, inprocess

WARM: Final = 2000
SHORT, LONG = 100, 1100
PAIRS: Final = 6
"""Of a short and a long phase. What a phase costs whatever its length is not in their difference."""
MARK: Final = "getppid"
"""The function of the C library that is called at a mark."""
PHASES: Final = 2 * PAIRS


async def in_phases(case: AbstractAsyncContextManager[counting.CountedCase]) -> None:
    """Run all phases of a case. The garbage collector is off: its moments would depend on everything before."""
    async with case as sender:
        await sender.send(sender.make(WARM))
        phases = [sender.make(many) for many in (SHORT, LONG) * PAIRS]
        gc.collect()
        gc.disable()
        os.getppid()
        for pushes in phases:
            await sender.send(pushes)
            os.getppid()
        gc.enable()


async def run_all(providers: list[str]) -> None:
    """Each case of each provider."""
    for provider in providers:
        for case in counting.CASES:
            await in_phases(counting.CASES[case](provider))
            print(provider, case)


if __name__ == "__main__":
    inprocess.install()
    asyncio.run(run_all(sys.argv[1:]))
