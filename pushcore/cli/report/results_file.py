"""The results of rows: a results file, written as results arrive, and a counter without a file."""

from __future__ import annotations

from typing import Final, Protocol, TextIO

from ...engine.breaker import may_drop
from ...payloads.apns_rows import ApnsRow
from ...payloads.devices import APNS, FCM
from ...payloads.rows import Row
from ...results import ACCEPTED, Accepted, Result, Verdict
from .output import harmless, harmless_token, iso, open_output, quoted
from .tally import REGISTERED_SINCE, ResultCounts, drops, how_many

COLUMNS: Final = (
    *("row", "token", "platform", "verdict", "status", "reason", "id", "timestamp", "attempts"),
    *("drop_token", "environment"),
)
HEADER: Final = ",".join(COLUMNS) + "\n"


class ResultSink(Protocol):
    """Takes the results of a run. `name`: of the destination, for messages. `counts`: the counts so far."""

    name: str
    counts: ResultCounts

    def take(self, result: Result) -> bool: ...
    def bad_row(self, row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def keep_registered(result: Result) -> None:
    """Set the reason to `REGISTERED_SINCE` if an unregistered token must be kept."""
    push = result.push
    if type(push) is ApnsRow and result.drop_token and not may_drop(result.timestamp, push.registered_at):
        result.reason = REGISTERED_SINCE


class ResultsFile:
    """Writes every result as a row of CSV to `file`, and counts it. `header`: whether to write a header row. `raw`: see `csv_row`."""

    def __init__(self, file: TextIO, name: str, *, header: bool = True, raw: bool = False) -> None:
        self.name = name
        self._raw = raw
        self.counts = ResultCounts()
        self._apns, self._fcm = self.counts.tallies[APNS], self.counts.tallies[FCM]
        self._file = file
        self._write = file.write
        if header:
            self._write(HEADER)

    @classmethod
    def to_file(cls, path: str, *, raw: bool = False) -> ResultsFile:
        """Results for the file at `path`, or for the standard output ("-").

        Raises:
            BadInput: the file cannot be written.
        """
        return cls(*open_output(path, "the results"), raw=raw)

    def take(self, result: Result) -> bool:
        """Write and count one result. Returns whether it was accepted."""
        push: Row = result.push
        if type(push) is not ApnsRow:
            return self._take_fcm(result)
        if type(result) is Accepted:
            # Token and id need no quotes: both were checked before they were sent.
            self._write(f"{push.row},{push.token},apns,ACCEPTED,200,,{push.apns_id},,{result.attempts},,\n")
            self._apns.accepted += 1
            return True
        keep_registered(result)
        self._put(push.row, push.token, APNS, result.verdict, self.counts.take(result, APNS), result)
        return result.verdict is ACCEPTED

    def _take_fcm(self, result: Result) -> bool:
        push = result.push
        if type(result) is Accepted:
            name = result.id or ""
            if not name.startswith("projects/") and not self._raw:
                name = harmless(name)
            self._write(
                f"{push.row},{quoted(push.device)},fcm,ACCEPTED,200,,{quoted(name)},,{result.attempts},,\n"
            )
            self._fcm.accepted += 1
            return True
        if result.verdict is ACCEPTED:
            self._put(push.row, push.device, FCM, ACCEPTED, "", result)
            self._fcm.accepted += 1
            return True
        self._put(push.row, push.device, FCM, result.verdict, self.counts.take(result, FCM), result)
        return False

    def bad_row(
        self, row: int, token: str, reason: str, platform: str = APNS, verdict: Verdict = Verdict.INVALID
    ) -> None:
        """Write and count a row without a push."""
        self._put(row, token, platform, verdict, reason, None)
        self.counts.tallies[platform].count(verdict, reason, row)

    def _put(
        self, row: int, token: str, platform: str, verdict: Verdict, reason: str, result: Result | None
    ) -> None:
        if result is None:
            self._write(csv_row(row, token, platform, verdict, None, reason, None, None, 0, self._raw))
        else:
            status, moment = result.status, result.timestamp
            self._write(
                csv_row(
                    *(row, token, platform, verdict, status, reason, result.id, moment, result.attempts),
                    self._raw,
                )
            )

    def flush(self) -> None:
        """Write the buffer to the file. Raises `OSError`."""
        self._file.flush()

    def close(self) -> None:
        """Write the rest and close the file. Raises `OSError`."""
        self._file.close()

    def summary(self, seconds: float) -> list[str]:
        """The lines of the summary for the user."""
        return [how_many(self.counts.total, seconds), *self.counts.lines()]


class ResultCounter:
    """Only counts results, for a run with results in its journal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = ResultCounts()
        self._apns, self._fcm = self.counts.tallies[APNS], self.counts.tallies[FCM]

    def take(self, result: Result) -> bool:
        """Count one result. Returns whether it was accepted."""
        apns = type(result.push) is ApnsRow
        if type(result) is Accepted:
            tally = self._apns if apns else self._fcm
            tally.accepted += 1
            return True
        self.counts.take(result, APNS if apns else FCM)
        return result.verdict is ACCEPTED

    def bad_row(self, row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
        """Count a row without a push."""
        self.counts.tallies[platform].count(verdict, reason, row)

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    def close(self) -> None:
        """Does nothing: there is no file."""


def csv_row(
    row: int,
    token: str,
    platform: str,
    verdict: Verdict,
    status: int | None,
    reason: str | None,
    sent_id: str | None,
    timestamp: float | None,
    attempts: int,
    raw: bool = False,
) -> str:
    """One row of the results, with the values of `journal.Outcome`.

    Unless `raw`, reasons and invalid tokens are made safe for spreadsheets and terminals, see `harmless`. Accepted tokens and
    apns-ids are written as they are.
    """
    environment = ""
    if verdict is ACCEPTED and platform == APNS:
        environment, reason = reason or "", None
    if not raw:
        if verdict is not ACCEPTED:
            token, reason = harmless_token(token), harmless(reason or "")
        if sent_id and platform == FCM and not (sent_id.startswith("projects/") and sent_id.isprintable()):
            sent_id = harmless(sent_id)
    return (
        f"{row},{quoted(token)},{platform},{verdict.value},{'' if status is None else status},"
        f"{quoted(reason or '')},{quoted(sent_id or '')},{'' if timestamp is None else iso(timestamp)},"
        f"{attempts},{'yes' if drops(verdict, reason) else ''},{environment}\n"
    )
