"""Both pipes between a parent and its child, and the plan of a run for them."""

from __future__ import annotations

import json
import os
from typing import Any

from pushcore.cli.run.processes import SupervisorPipe
from pushcore.cli.run.run_plan import RunPlan
from pushcore.cli.run.sending import SendingOptions

from .scripted import APNS, template


class Pipes:
    """Both pipes of a child: `told` and `orders` are the parent's ends, `tells` and `ordered` the child's."""

    def __init__(self) -> None:
        self.told, self.tells = os.pipe()
        self.ordered, self.orders = os.pipe()

    def messages(self) -> list[dict[str, Any]]:
        """What the child has told so far."""
        os.set_blocking(self.told, False)
        data = b""
        while True:
            try:
                more = os.read(self.told, 65536)
            except BlockingIOError:
                break
            if not more:
                break
            data += more
        assert data.endswith(b"\n") or not data
        return [json.loads(line) for line in data.splitlines()]

    def close(self, *names: str) -> None:
        for name in names or ("told", "tells", "orders", "ordered"):
            number = getattr(self, name)
            if number >= 0:
                os.close(number)
            setattr(self, name, -1)

    @property
    def line(self) -> SupervisorPipe:
        return SupervisorPipe(self.tells, self.ordered)


def plan_of(audience: str, processes: int = 1) -> RunPlan:
    return RunPlan(
        clients=APNS,
        template=template(),
        sending=SendingOptions(),
        audience=audience,
        journals=None,
        processes=processes,
        quiet=True,
    )
