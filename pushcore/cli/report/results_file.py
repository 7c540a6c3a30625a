"""The results of rows: the results file, written as results come, and a counter without a file."""

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
    """Takes the results of a run. `name`: where they go, for messages. `counts`: of those so far."""

    name: str
    counts: ResultCounts

    def take(self, result: Result) -> bool: ...
    def bad_row(self, row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


def keep_registered(result: Result) -> None:
    """The reason of a dead token that must be kept becomes `REGISTERED_SINCE`, for later readers."""
    push = result.push
    if type(push) is ApnsRow and result.drop_token and not may_drop(result.timestamp, push.registered_at):
        result.reason = REGISTERED_SINCE


class ResultsFile:
    """Takes every result, writes it as a row of CSV to `file`, and counts it. `header`: whether to begin with one.
    `raw`: see `csv_row`."""

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
        """A report whose rows go to a file, or with "-" to the standard output.

        Raises:
            BadInput: the file cannot be written.
        """
        return cls(*open_output(path, "the results"), raw=raw)

    def take(self, result: Result) -> bool:
        """Write and count one result. True when it was accepted."""
        push: Row = result.push
        if type(push) is not ApnsRow:
            return self._take_fcm(result)
        if type(result) is Accepted:
            # Neither token nor id needs quotes: both were checked before they were sent.
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
        """Write and count a row that never became a push."""
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
        """Have everything in the file. Raises `OSError`."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file. Raises `OSError`."""
        self._file.close()

    def summary(self, seconds: float) -> list[str]:
        """The lines of the summary for the user."""
        return [how_many(self.counts.total, seconds), *self.counts.lines()]


class ResultCounter:
    """Takes every result and only counts it, for a run whose results are in its journal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts = ResultCounts()
        self._apns, self._fcm = self.counts.tallies[APNS], self.counts.tallies[FCM]

    def take(self, result: Result) -> bool:
        """True when it was accepted."""
        apns = type(result.push) is ApnsRow
        if type(result) is Accepted:
            tally = self._apns if apns else self._fcm
            tally.accepted += 1
            return True
        self.counts.take(result, APNS if apns else FCM)
        return result.verdict is ACCEPTED

    def bad_row(self, row: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
        """A row that never became a push."""
        self.counts.tallies[platform].count(verdict, reason, row)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """There is nothing to close."""


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
    """One row of the results, as `journal.Outcome` has it.

    Unless `raw`, the provider's words and what is no token can do nothing in a spreadsheet or a terminal, see `harmless`.
    A token that was accepted is one, and an apns-id is the user's own.
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
