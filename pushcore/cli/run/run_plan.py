"""The common plan of a campaign's processes: clients and template."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...audience.audience import Audience
from ...audience.problems import BadInput
from ...audience.shards import Shard
from ...engine.rules import Shared
from ...errors import JournalError
from ...payloads.duplicates import Duplicates, TokenSample
from ...payloads.rows import Rows
from ...payloads.template import Template
from ..report.results_file import ResultSink
from .campaign import CampaignRun, Supervisor, warn
from .client_options import Clients
from .exit_report import ExitReport
from .journals import JournalPlan
from .sending import SendingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """The plan for sending an audience, in one process or in each of several.

    `template`: makes the pushes. `audience`: a path or a URL. `audience_state`: see `Audience`. `journals`: None for a run
    without journals. `results_raw`: see `csv_row`. `sample`, `duplicates`: as in `Rows`.
    """

    clients: Clients
    template: Template
    sending: SendingOptions
    audience: str
    audience_state: object = None
    journals: JournalPlan | None
    processes: int
    quiet: bool
    results_raw: bool = False
    sample: TokenSample | None = None
    duplicates: Duplicates | None = None

    def rows(self, source: Audience, shard: Shard) -> Rows:
        """The pushes of a part of the rows. Raises `BadInput` for invalid columns."""
        return self.template.rows(*(source, nowhere, shard), sample=self.sample, duplicates=self.duplicates)

    def send(
        self,
        source: Audience,
        sink: ResultSink,
        number: int = 0,
        *,
        ready: Callable[[], object] = lambda: None,
        shared: Mapping[str, Shared] | None = None,
        parent: Supervisor | None = None,
    ) -> ExitReport:
        """Send one part. `ready`: called when everything has been checked, directly before sending."""
        if source.state != self.audience_state and self.audience_state is not None:
            raise BadInput(f"{source.name} was changed while the processes started; nothing was sent")
        journals = self.journals
        rows = self.rows(
            source, Shard(number, self.processes) if journals is None else journals.shard(number)
        )
        journal = None if journals is None else journals.open(number, source, self.audience)
        try:
            if parent is None:
                warn(self.sending, self.clients, quiet=self.quiet)
            ready()
            return CampaignRun(
                self.clients,
                source,
                rows,
                sink,
                self.sending,
                journal=journal,
                shared=shared,
                parent=parent,
                quiet=self.quiet,
            ).send()
        except BaseException:  # nothing was sent
            if journals is not None and journal is not None:
                with contextlib.suppress(JournalError):
                    journal.close()
                journals.discard(number)
            raise


def nowhere(*bad: object) -> None:
    """Ignore bad rows, before there is a report."""
    raise AssertionError("no row is read before there is a report")
