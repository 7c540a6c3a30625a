"""A campaign of the command line: in one process or several, with a journal or without, and its final messages."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain, printable
from ...audience.shards import WHOLE
from ...audience.storage import is_url
from ...engine.collector import relax_collector
from ...errors import JournalError
from ...payloads.duplicates import Duplicates, TokenSample, duplicate_lines, find_duplicates
from ...payloads.rows import invisible_lines
from ..report.notices import say, showing_warnings
from ..report.outcomes import CSV, outcomes_of, write
from ..report.output import open_output, open_unchanged, refuse_same_file
from ..report.results_file import HEADER, ResultCounter, ResultsFile, ResultSink
from ..statuses import INCOMPLETE, OK
from .client_options import CampaignClient, ClientOptions
from .exit_report import Conclusion, ExitReport, conclude, conclude_journal, say_plain
from .journals import CampaignProgress, JournalPlan, views
from .run_plan import RunPlan
from .sending import SendingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A campaign and its options.

    `results`: the path of the results, None if they are only in the journal. `as_json`: write the summary as JSON to the
    standard output. `results_raw`: see `csv_row`. `plan`: the journals, None for none.
    """

    sender: ClientOptions
    sending: SendingOptions
    audience: str
    results: str | None
    plan: JournalPlan | None
    processes: int = 1
    quiet: bool = False
    as_json: bool = False
    results_raw: bool = False
    unique: bool = False

    def run(self) -> int:
        """Run it; returns the exit status.

        Raises:
            BadInput, ConfigurationError, JournalError: it cannot be started; nothing was sent.
        """
        clients = self.sender.clients()
        prefix = None if self.plan is None else self.plan.id_prefix
        with showing_warnings():
            template = self.sender.template(clients, prefix)
        with Audience(self.audience) as source:
            run_plan = RunPlan(
                clients=clients,
                template=template,
                sending=self.sending,
                audience=self.audience,
                audience_state=source.state,
                journals=self.plan,
                processes=self.processes,
                quiet=self.quiet,
                results_raw=self.results_raw,
                # Each of several processes has only a part of the rows, so it cannot count duplicates.
                sample=TokenSample() if self.processes == 1 and not self.unique else None,
            )
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
            rows = run_plan.rows(source, WHOLE)  # raises errors of the columns before any file is written
            if not self.quiet:
                for notice in (*source.notices, *rows.notices, *template.notices_of(source)):
                    say(notice)
            if self.unique:
                run_plan = replace(run_plan, duplicates=duplicates_of(source, self.audience, list(clients)))
            alone = self.plan is None and self.processes == 1
            status = self._send_alone(run_plan, source) if alone else OK
        if not alone:
            status = (
                self._send_apart(run_plan) if self.plan is None else self._send_journaled(run_plan, self.plan)
            )
        if not self.quiet:
            duplicates = run_plan.duplicates or run_plan.sample
            lines = [] if duplicates is None else duplicate_lines(duplicates, left_out=self.unique)
            for line in lines + invisible_lines(template.apns, template.fcm):
                say_plain(line)
        return status

    def _send_alone(self, run_plan: RunPlan, source: Audience) -> int:
        """Send in this process, without a journal."""
        assert self.results is not None
        sink = ResultsFile.to_file(self.results, raw=self.results_raw)
        return self._conclude(run_plan.send(source, sink), sink, run_plan.clients)

    def _conclude(self, report: ExitReport, sink: ResultSink, clients: Mapping[str, CampaignClient]) -> int:
        return conclude(
            report,
            sink.counts,
            clients,
            name=sink.name,
            summary=not self.quiet,
            parts=self.processes,
            as_json=self.as_json,
        )

    def _send_apart(self, run_plan: RunPlan) -> int:
        """Send in several processes, which write to one file."""
        from .processes import ChildProcesses  # needs fcntl, which Windows does not have

        assert self.results is not None
        file, name = open_output(self.results, "the results")
        with file:
            file.write(HEADER)
            file.flush()
            total = ResultCounter(name)
            report = ChildProcesses(run_plan, file.fileno()).run(total.counts)
        return self._conclude(report, total, run_plan.clients)

    def _send_journaled(self, run_plan: RunPlan, plan: JournalPlan) -> int:
        """Send in one process or several, each with a journal; the results are written at the end."""
        file, name = (None, "") if self.results is None else open_unchanged(self.results, "the results")
        with file if file is not None else contextlib.nullcontext():

            def ready() -> None:
                """Remove old results, which could be mistaken for those of this campaign."""
                if file is not None and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    file.truncate(0)  # a pipe or a device cannot be truncated

            total = ResultCounter(printable(plan.path))
            if self.processes > 1:
                from .processes import ChildProcesses

                report = ChildProcesses(run_plan).run(total.counts, ready)
            else:
                with Audience(self.audience) as source:
                    report = run_plan.send(source, total, ready=ready)
            try:
                path, progress = _progress(plan)
            except JournalError as error:
                text = f"{report.problem or printable(str(error))}; the results cannot be written"
                return Conclusion(INCOMPLETE, (text,)).tell(
                    report.seconds, total.counts, as_json=self.as_json
                )
            written = OK if file is None else write_results(path, file, name, raw=self.results_raw)
        return conclude_journal(
            report,
            plan.before,
            progress,
            run_plan.clients,
            summary=not self.quiet,
            written=written,
            as_json=self.as_json,
        )


def _progress(plan: JournalPlan) -> tuple[str, CampaignProgress]:
    """The path of the campaign's journal and its progress. If a file was replaced during the run, the path is another one."""
    path = plan.gather()
    progress = CampaignProgress.of(path)
    if progress.campaign_id != plan.campaign_id:
        raise JournalError(f"{path} has another campaign now")
    return path, progress


def duplicates_of(source: Audience, path: str, platforms: Sequence[str]) -> Duplicates:
    """The rows of an open audience with the device of an earlier row. The audience is read another time.

    Raises:
        BadInput: it cannot be read again.
    """
    if path == "-" or source.size is None:
        raise BadInput(f"{source.name} cannot be read twice; with --unique expected the path of a file")
    try:
        return find_duplicates(path, platforms[0] if len(platforms) == 1 else "")
    except OSError as error:
        raise BadInput(f"{source.name} cannot be searched for --unique ({explain(error)})") from None


def write_results(path: str, file: IO[bytes], name: str, *, raw: bool = False) -> int:
    """Write the results of the campaign's journals, and close the file; returns the exit status."""
    relax_collector()
    try:
        with views(path) as journals:
            write(outcomes_of(journals), file, CSV, raw=raw)
        file.close()
    except (OSError, JournalError) as error:
        why = explain(error) if isinstance(error, OSError) else str(error)
        with contextlib.suppress(OSError):
            file.close()  # here, because `close` tries to write the rest again
        say(f"{name} cannot be written ({printable(why)}); run `pushcore results {printable(path)}`")
        return INCOMPLETE
    return OK
