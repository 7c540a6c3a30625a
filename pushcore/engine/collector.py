"""Python's garbage collector, set for a process that sends: a push makes objects, but no reference cycles."""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 50_000
"""Objects made before the youngest generation is searched; 700 is Python's own figure.

A push takes about eight objects that the collector tracks and drops them all by reference count. At 700 it walks
through everything in flight 11 times for a thousand pushes and finds nothing: 12 % of the CPU of a campaign.
"""


def relax_collector() -> None:
    """Make the garbage collector search for cycles less often, for processes that do little else than send.

    Existing objects are never searched again (`gc.freeze`). New cycles of the caller are still found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 100)
