"""What became of the rows: the results file, and the counts for the summary."""

from __future__ import annotations

import datetime
import io
import os
from collections import Counter
from typing import Final, TextIO, cast

from ..results import ACCEPTED, Result, Verdict
from .problems import BadInput, explain, printable
from .rows import Row

COLUMNS: Final = ("row", "token", "platform", "verdict", "status", "reason", "id", "timestamp", "attempts")
BUFFER: Final = 256 * 1024
"""Characters that are kept before they are written to the file."""
MAX_KINDS: Final = 200
"""Different reasons that are counted apart; the rest are counted together."""
OTHER: Final = "(other reasons)"

_TO_QUOTE: Final = frozenset(',"\r\n')
_ORDER: Final = {verdict.value: place for place, verdict in enumerate(Verdict)}


class Report:
    """Takes every result, writes it as a row of CSV, and counts it.

    `accepted`: how many were. `counts`: the others, by verdict and reason. `first`: the first row of each kind.
    `suspects`: tokens that APNs blames, by reason, although the environment or the topic may be to blame.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self.name = name
        self.accepted = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], int] = {}
        self.suspects: Counter[str] = Counter()
        self.dead = 0
        self._file = file
        self._write = file.write
        self._write(",".join(COLUMNS) + "\n")

    @classmethod
    def to_file(cls, path: str) -> Report:
        """A report whose rows go to a file, or with "-" to the standard output.

        Raises:
            BadInput: the file cannot be written.
        """
        name = "the standard output" if path == "-" else printable(path)
        try:
            raw = open(1, "wb", buffering=0, closefd=False) if path == "-" else open(path, "wb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise BadInput(
                f"{name} cannot be written ({explain(error)}); expected a file for the results"
            ) from None
        buffered = io.BufferedWriter(raw, BUFFER)
        # Half surrogate pairs stand for bytes of the audience that are no UTF-8; they go out as they came in.
        return cls(io.TextIOWrapper(buffered, "utf-8", errors="surrogateescape", newline="\n"), name)

    @property
    def total(self) -> int:
        """Rows that have a result."""
        return self.accepted + self.counts.total()

    def take(self, result: Result) -> bool:
        """Write and count one result. True when it was accepted."""
        push = cast(Row, result.push)
        if result.verdict is ACCEPTED:
            # Neither token nor id needs quotes: both were checked before they were sent.
            self._write(
                f"{push.row},{push.token},apns,ACCEPTED,{result.status},,{push.apns_id},,{result.attempts}\n"
            )
            self.accepted += 1
            return True
        reason = result.reason or ("" if result.detail is None else str(result.detail))
        self._put(push.row, push.token, result.verdict.value, reason, result)
        if result.drop_token:
            self.dead += 1
        elif result.suspect:
            self.suspects[reason] += 1
        return False

    def bad_row(self, row: int, token: str, reason: str) -> None:
        """Write and count a row that never became a push."""
        self._put(row, token, Verdict.INVALID.value, reason, None)

    def _put(self, row: int, token: str, verdict: str, reason: str, result: Result | None) -> None:
        status, sent_id, timestamp, attempts = "", "", "", 0
        if result is not None:
            status = "" if result.status is None else str(result.status)
            sent_id = result.id or ""
            timestamp = "" if result.timestamp is None else iso(result.timestamp)
            attempts = result.attempts
        self._write(
            f"{row},{_quoted(token)},apns,{verdict},{status},{_quoted(reason)},{_quoted(sent_id)},"
            f"{timestamp},{attempts}\n"
        )
        kind = verdict, reason
        if kind not in self.first:
            if len(self.first) >= MAX_KINDS:
                kind = verdict, OTHER
            self.first.setdefault(kind, row)
        self.counts[kind] += 1

    def flush(self) -> None:
        """Have everything in the file. Raises `OSError`."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file. Raises `OSError`."""
        self._file.close()

    def summary(self, seconds: float) -> list[str]:
        """What to tell the user at the end, in lines."""
        total = self.total
        rate = f", {total / seconds:,.0f} a second" if seconds > 0 and total else ""
        lines = [f"{total:,} {'row' if total == 1 else 'rows'} in {seconds:.1f} s{rate}"]
        counted = [(Verdict.ACCEPTED.value, "", self.accepted)] if self.accepted else []
        counted += [(verdict, reason, count) for (verdict, reason), count in self.counts.items()]
        counted.sort(key=lambda each: (_ORDER[each[0]], -each[2]))
        for verdict, reason, count in counted:
            first = self.first.get((verdict, reason))
            where = "" if first is None else f"  (first: row {first})"
            lines.append(f"  {verdict:<13} {count:>12,}  {printable(reason, 160)}{where}".rstrip())
        if self.dead:
            lines.append(
                f"dead: {self.dead:,} {_tokens(self.dead)}; remove {_them(self.dead)} from your audience "
                "(verdict UNREGISTERED in the results), unless the device registered again after the timestamp"
            )
        if self.suspects:
            count = self.suspects.total()
            reasons = ", ".join(
                f"{printable(reason)} {each:,}" for reason, each in self.suspects.most_common()
            )
            lines.append(
                f"suspect: {count:,} {_tokens(count)} ({reasons}); a wrong --environment or --topic gives the same "
                f"answer, so check those before you drop {_them(count)}"
            )
        return lines


def iso(timestamp: float) -> str:
    """UNIX seconds as ISO 8601 in UTC, with milliseconds."""
    moment = datetime.datetime.fromtimestamp(round(timestamp, 3), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def refuse_same_file(results: str, *inputs: str | None) -> None:
    """Raises `BadInput` when the results would be written over a file that is read."""
    for path in inputs:
        try:
            if path is not None and results != "-" and os.path.samefile(results, path):
                raise BadInput(f"{results} is an input; expected another file for the results")
        except OSError:
            continue  # one of them does not exist, and they are not the same


def _quoted(text: str) -> str:
    if _TO_QUOTE.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'


def _tokens(count: int) -> str:
    return "token" if count == 1 else "tokens"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
