"""A campaign without a network: an engine whose answers are given, and an audience in a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

from pushcore.audience.audience import Audience
from pushcore.audience.shards import WHOLE, Shard
from pushcore.cli.report.results_file import ResultsFile
from pushcore.cli.run.client_options import CampaignClient, Clients
from pushcore.errors import ClosedError
from pushcore.payloads.rows import Rows
from pushcore.payloads.template import Template
from pushcore.results import Result, Verdict

APNS = Clients({"apns": cast(CampaignClient, object())})
"""Clients that nothing asks for anything."""


def accepted(push: Any) -> Result:
    """What nearly all become."""
    return Result(push, Verdict.ACCEPTED, 200, 1, push.apns_id)


class ScriptedEngine:
    """Gives each push the result that `answer` makes of it, and raises what that raises. `made`: all engines so far."""

    answer: ClassVar[Callable[[Any], Result]] = staticmethod(accepted)
    made: ClassVar[list[ScriptedEngine]] = []

    def __init__(self, *clients: Any, **options: Any) -> None:
        self.clients, self.options = clients, options
        self.closed = False
        self.made.append(self)

    async def __aenter__(self) -> ScriptedEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True

    async def close(self) -> None:
        """Nothing is in flight."""
        self.closed = True

    async def send_many(self, source: Any, journal: Any = None) -> AsyncIterator[Result]:
        """One push after the other."""
        pushes: Iterable[Any] = source if journal is None else journal.pending(source)
        for push in pushes:
            if self.closed:
                raise ClosedError("the engine was closed")
            result = type(self).answer(push)
            if journal is not None:
                journal.record(result)
            yield result


def audience_of(place: Path, rows: int, *odd: str) -> str:
    """A file with so many good rows for APNs, and these behind them."""
    path = place / "devices.csv"
    path.write_text("\n".join(["token", *(f"{row:064x}" for row in range(1, rows + 1)), *odd, ""]))
    return str(path)


def rows_of(source: Audience, shard: Shard = WHOLE) -> Rows:
    """Pushes to APNs of an audience."""
    return template().rows(source, lambda *bad: None, shard)


def template() -> Template:
    """What makes them."""
    return Template({"aps": {"alert": "Hi"}})


def report_at(place: Path) -> ResultsFile:
    """A results file."""
    return ResultsFile.to_file(str(place / "results.csv"))
