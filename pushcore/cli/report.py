"""What became of the rows: the results file, and the counts for the summary."""

from __future__ import annotations

from collections import Counter
from typing import Final, TextIO

from ..engine.breaker import may_drop
from ..results import ACCEPTED, Result, Verdict
from .apns_rows import ApnsRow
from .devices import APNS, FCM, NAMES
from .output import iso, open_output, quoted
from .problems import printable
from .rows import Row

COLUMNS: Final = (
    *("row", "token", "platform", "verdict", "status", "reason", "id", "timestamp", "attempts"),
    "drop_token",
)
REGISTERED_SINCE: Final = "Unregistered, but registered since"
"""The reason of a row whose token APNs called dead as of a time before its `registered_at`: UNREGISTERED, and to be kept."""
MAX_KINDS: Final = 200
"""Different reasons of a platform that are counted apart; the rest are counted together."""
OTHER: Final = "(other reasons)"
FOREIGN: Final = "SENDER_ID_MISMATCH"
"""FCM's word for a token of another project."""

_ORDER: Final = {verdict.value: place for place, verdict in enumerate(Verdict)}
_CHECK_FIRST: Final = {
    APNS: "a wrong --environment or --topic gives the same answer, so check those",
    FCM: "a service account of another project gives the same answer, so check that",
}
_AGAIN: Final = {
    APNS: ", unless the device registered again after the timestamp",
    FCM: "",  # which says no time
}


class Tally:
    """The counts of one platform.

    `accepted`: how many rows were. `counts`: the others, by verdict and reason. `first`: of each kind, the first row
    and what there is to say about it. `suspects`: by reason, tokens that the provider blames although the
    configuration may be to blame. `dead`: tokens to drop. `kept`: those that were dead and registered since.
    """

    __slots__ = ("accepted", "counts", "dead", "first", "kept", "suspects")

    def __init__(self) -> None:
        self.accepted = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], tuple[int, str]] = {}
        self.suspects: Counter[str] = Counter()
        self.dead = 0
        self.kept = 0

    @property
    def total(self) -> int:
        """Rows that have a result."""
        return self.accepted + self.counts.total()

    def count(self, verdict: str, reason: str, row: int, detail: str) -> None:
        """One row that was not accepted."""
        kind = verdict, reason
        if kind not in self.first:
            if len(self.first) >= MAX_KINDS:
                kind = verdict, OTHER
            self.first.setdefault(kind, (row, detail))
        self.counts[kind] += 1

    def lines(self) -> list[str]:
        """A line for each verdict and reason."""
        counted = [(Verdict.ACCEPTED.value, "", self.accepted)] if self.accepted else []
        counted += [(verdict, reason, count) for (verdict, reason), count in self.counts.items()]
        counted.sort(key=lambda each: (_ORDER[each[0]], -each[2]))
        lines = []
        for verdict, reason, count in counted:
            where = ""
            if (verdict, reason) in self.first:
                row, detail = self.first[verdict, reason]
                more = f", {printable(detail, 120)}" if detail and reason != OTHER else ""
                where = f"  (first: row {row}{more})"
            lines.append(f"  {verdict:<13} {count:>12,}  {printable(reason, 160)}{where}".rstrip())
        return lines


class Report:
    """Takes every result, writes it as a row of CSV, and counts it.

    `tallies`: the counts by platform, with "" for rows of neither.
    """

    def __init__(self, file: TextIO, name: str) -> None:
        self.name = name
        self.tallies = {APNS: Tally(), FCM: Tally(), "": Tally()}
        self._apns, self._fcm = self.tallies[APNS], self.tallies[FCM]
        self._file = file
        self._write = file.write
        self._write(",".join(COLUMNS) + "\n")

    @classmethod
    def to_file(cls, path: str) -> Report:
        """A report whose rows go to a file, or with "-" to the standard output.

        Raises:
            BadInput: the file cannot be written.
        """
        return cls(*open_output(path, "the results"))

    @property
    def accepted(self) -> int:
        """Rows that were accepted."""
        return self._apns.accepted + self._fcm.accepted

    @property
    def total(self) -> int:
        """Rows that have a result."""
        return sum(tally.total for tally in self.tallies.values())

    def take(self, result: Result) -> bool:
        """Write and count one result. True when it was accepted.

        The reason of a token that is dead and to be kept becomes `REGISTERED_SINCE`, for whoever looks afterwards.
        """
        push: Row = result.push
        if type(push) is not ApnsRow:
            return self._take_fcm(result)
        if result.verdict is ACCEPTED:
            # Neither token nor id needs quotes: both were checked before they were sent.
            self._write(
                f"{push.row},{push.token},apns,ACCEPTED,{result.status},,{push.apns_id},,{result.attempts},\n"
            )
            self._apns.accepted += 1
            return True
        if result.drop_token and not may_drop(result.timestamp, push.registered_at):
            result.reason = REGISTERED_SINCE
        detail = "" if result.detail is None else str(result.detail)
        reason = result.reason or detail
        self._put(push.row, push.token, APNS, result.verdict, reason, result)
        self._apns.count(result.verdict.value, reason, push.row, detail if detail != reason else "")
        if drops(result.verdict, reason):
            self._apns.dead += 1
        elif result.drop_token:
            self._apns.kept += 1
        elif result.suspect:
            self._apns.suspects[reason] += 1
        return False

    def _take_fcm(self, result: Result) -> bool:
        push, tally = result.push, self._fcm
        if result.verdict is ACCEPTED:
            self._put(push.row, push.device, FCM, ACCEPTED, "", result)
            tally.accepted += 1
            return True
        detail = "" if result.detail is None else str(result.detail)
        reason = result.reason or detail
        if detail and not result.attempts and result.verdict is Verdict.INVALID:
            reason = detail  # found here: Google's word, INVALID_ARGUMENT, would say less
        self._put(push.row, push.device, FCM, result.verdict, reason, result)
        tally.count(result.verdict.value, reason, push.row, detail if detail != reason else "")
        if result.drop_token:
            tally.dead += 1
        elif reason == FOREIGN:
            tally.suspects[reason] += 1
        return False

    def bad_row(
        self, row: int, token: str, reason: str, platform: str = APNS, verdict: Verdict = Verdict.INVALID
    ) -> None:
        """Write and count a row that never became a push."""
        self._put(row, token, platform, verdict, reason, None)
        self.tallies[platform].count(verdict.value, reason, row, "")

    def _put(
        self, row: int, token: str, platform: str, verdict: Verdict, reason: str, result: Result | None
    ) -> None:
        status, sent_id, timestamp, attempts = "", "", "", 0
        if result is not None:
            status = "" if result.status is None else str(result.status)
            sent_id = result.id or ""
            timestamp = "" if result.timestamp is None else iso(result.timestamp)
            attempts = result.attempts
        self._write(
            f"{row},{quoted(token)},{platform},{verdict.value},{status},{quoted(reason)},{quoted(sent_id)},"
            f"{timestamp},{attempts},{'yes' if drops(verdict, reason) else ''}\n"
        )

    def flush(self) -> None:
        """Have everything in the file. Raises `OSError`."""
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file. Raises `OSError`."""
        self._file.close()

    def summary(self, seconds: float) -> list[str]:
        """What to tell the user at the end, in lines."""
        total = self.total
        lines = [how_many(total, seconds)]
        tallies = {platform: tally for platform, tally in self.tallies.items() if tally.total}
        for platform, tally in tallies.items():
            if len(tallies) > 1:
                lines.append(f"{NAMES.get(platform, 'neither APNs nor FCM')}: {_rows(tally.total)}")
            lines += tally.lines()
        for platform, tally in tallies.items():
            whose = f" of {NAMES[platform]}" if len(tallies) > 1 and platform else ""
            if tally.dead:
                lines.append(
                    f"dead: {tally.dead:,} {_tokens(tally.dead)}{whose}; remove {_them(tally.dead)} from your "
                    f"audience (drop_token yes in the results){_AGAIN[platform]}"
                )
            if tally.kept:
                lines.append(
                    f"keep: {tally.kept:,} {_tokens(tally.kept)}{whose} that APNs called dead, for the device "
                    "registered again since then (registered_at)"
                )
            if tally.suspects:
                count = tally.suspects.total()
                reasons = ", ".join(
                    f"{printable(reason)} {each:,}" for reason, each in tally.suspects.most_common()
                )
                lines.append(
                    f"suspect: {count:,} {_tokens(count)}{whose} ({reasons}); {_CHECK_FIRST[platform]} "
                    f"before you drop {_them(count)}"
                )
        return lines


def drops(verdict: Verdict, reason: str | None) -> bool:
    """Whether a row of the results says that its token is to be dropped."""
    return verdict is Verdict.UNREGISTERED and reason != REGISTERED_SINCE


def how_many(rows: int, seconds: float) -> str:
    """So many rows in so much time."""
    rate = f", {rows / seconds:,.0f} a second" if seconds > 0 and rows else ""
    return f"{_rows(rows)} in {seconds:.1f} s{rate}"


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _tokens(count: int) -> str:
    return "token" if count == 1 else "tokens"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
