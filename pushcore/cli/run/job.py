"""A campaign as the command line has it: by one process or several, with a journal or without, and its last words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain, printable
from ...audience.shards import WHOLE, Shard
from ...audience.storage import is_url
from ...engine.collector import relax_collector
from ...engine.rules import Shared
from ...errors import JournalError
from ...payloads.apns_rows import ApnsRows
from ...payloads.fcm_rows import FcmRows
from ...payloads.rows import Rows
from ..report.notices import say
from ..report.outcomes import CSV, outcomes_of, write
from ..report.output import open_output, open_unchanged, refuse_same_file
from ..report.results_file import HEADER, Counter, Report, Taker
from ..statuses import INCOMPLETE, OK
from .campaign import Campaign, Parent
from .client_options import Client, Sender
from .exit_report import Ending, conclude, conclude_journal
from .journals import Plan, Progress, views
from .sending import Sending


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to do. `results`: where they go, None for nowhere but the journal. `plan`: of its journals, None for none."""

    sender: Sender
    sending: Sending
    audience: str
    results: str | None
    plan: Plan | None
    processes: int = 1
    quiet: bool = False

    def run(self) -> int:
        """Do it; the exit status.

        Raises:
            BadInput, ConfigurationError, JournalError: it cannot be done; nothing was sent.
        """
        clients = self.sender.clients()
        prefix = None if self.plan is None else self.plan.id_prefix
        work = Work(self, clients, *self.sender.makers(clients, prefix))
        with Audience(self.audience) as source:
            if self.results is not None:
                if source.same_file(self.results):
                    raise BadInput(f"{self.results} is the audience; expected another file for the results")
                journals = self.plan.files if self.plan is not None else ()
                refuse_same_file(self.results, *self.sender.files, *journals)
            if (self.audience == "-" or source.size is None or is_url(self.audience)) and (
                self.plan is not None or self.processes > 1
            ):
                why = "is a URL" if is_url(self.audience) else "cannot be read twice"
                raise BadInput(
                    f"{source.name} {why}; with --journal or --processes expected the path of a file"
                )
            work.rows(source, WHOLE)  # what is wrong with its columns, before any file is written
            if self.plan is None and self.processes == 1:
                assert self.results is not None
                report = Report.to_file(self.results)
                ending = work.send(source, report)
                return self._conclude(ending, report, clients)
        return self._send_apart(work) if self.plan is None else self._send_journaled(work, self.plan)

    def _conclude(self, ending: Ending, report: Taker, clients: Mapping[str, Client]) -> int:
        return conclude(
            ending,
            report.counts,
            clients,
            name=report.name,
            summary=not self.quiet,
            parts=self.processes,
        )

    def _send_apart(self, work: Work) -> int:
        """By several processes that write into one file."""
        from .processes import Crew  # not every system has what it needs

        assert self.results is not None
        file, name = open_output(self.results, "the results")
        with file:
            file.write(HEADER)
            file.flush()
            total = Counter(name)
            ending = Crew(work, file.fileno()).run(total.counts)
        return self._conclude(ending, total, work.clients)

    def _send_journaled(self, work: Work, plan: Plan) -> int:
        """By one process or several, each with its journal; the results are written in the end."""
        file, name = (None, "") if self.results is None else open_unchanged(self.results, "the results")
        with file if file is not None else contextlib.nullcontext():

            def ready() -> None:
                """Old results are not to be taken for those of this campaign."""
                if file is not None and file.seekable():
                    file.truncate(0)

            total = Counter(printable(plan.path))
            if self.processes > 1:
                from .processes import Crew

                ending = Crew(work).run(total.counts, ready)
            else:
                with Audience(self.audience) as source:
                    ending = work.send(source, total, ready=ready)
            progress = Progress.of(plan.path)
            status = conclude_journal(ending, plan.before, progress, work.clients, summary=not self.quiet)
            if file is not None:
                written = write_results(plan.path, file, name)
                status = written if status == OK else status
        return status


def write_results(path: str, file: IO[bytes], name: str) -> int:
    """Write what the campaign's journals hold; the exit status."""
    relax_collector()
    try:
        with views(path) as found:
            write(outcomes_of(found), file, CSV)
        file.flush()
    except (OSError, JournalError) as error:
        why = explain(error) if isinstance(error, OSError) else str(error)
        say(
            f"{name} cannot be written ({printable(why)}); `pushcore results {printable(path)}` does it again"
        )
        return INCOMPLETE
    return OK


class Work:
    """What every process of a job has, before it is divided: clients, and what makes pushes."""

    def __init__(
        self, job: Job, clients: dict[str, Client], apns: ApnsRows | None, fcm: FcmRows | None
    ) -> None:
        self.job = job
        self.clients = clients
        self._apns, self._fcm = apns, fcm

    def rows(self, source: Audience, shard: Shard) -> Rows:
        """The pushes of a part of the rows. Raises `BadInput` for columns that cannot be used."""
        return Rows(source, self._apns, self._fcm, nowhere, shard)

    def send(
        self,
        source: Audience,
        report: Taker,
        number: int = 0,
        *,
        ready: Callable[[], object] = lambda: None,
        shared: Mapping[str, Shared] | None = None,
        parent: Parent | None = None,
    ) -> Ending:
        """Send one part. `ready`: called when nothing can go wrong any more but the sending."""
        job, plan = self.job, self.job.plan
        rows = self.rows(source, Shard(number, job.processes) if plan is None else plan.shard(number))
        journal = None if plan is None else plan.open(number, source, job.audience)
        try:
            ready()
            return Campaign(
                self.clients,
                source,
                rows,
                report,
                job.sending,
                journal=journal,
                shared=shared,
                parent=parent,
                quiet=job.quiet,
            ).send()
        except BaseException:  # nothing was sent
            if journal is not None and plan is not None:
                with contextlib.suppress(JournalError):
                    journal.close()
                plan.discard(number)
            raise


def nowhere(*bad: object) -> None:
    """Takes bad rows before there is a report."""
    raise AssertionError("no row is read before there is a report")
