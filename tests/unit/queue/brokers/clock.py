"""The clock of the running loop where a module expects `time`: with a virtual loop nothing is really waited for."""

from __future__ import annotations

import asyncio


class LoopClock:
    """Stands in for the module `time`."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    time = monotonic
