"""The garbage collector of a process that sends: rarer searches, and cycles are still found."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from pushcore.engine.collector import YOUNG, relax_collector

class Node:
    pass

old = Node()
relax_collector()
assert gc.get_threshold() == (YOUNG, 20, 100), gc.get_threshold()
assert gc.get_freeze_count() > 0
assert gc.isenabled()
cycle = Node()
cycle.itself = cycle
found = weakref.ref(cycle)
del cycle
made = [[] for _ in range(YOUNG + 1000)]
assert found() is None, "a cycle was not found"
"""


def test_a_relaxed_collector_leaves_what_is_there_alone_and_still_finds_cycles() -> None:
    """In a process of its own, for it changes the whole process."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
