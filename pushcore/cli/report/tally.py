"""Counts of results: for progress and the summary; counts of several processes can be added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from ...audience.problems import printable
from ...journal.outcome import stored_reason
from ...payloads.devices import APNS, FCM, NAMES
from ...reasons import lookup
from ...results import Result, Verdict

REGISTERED_SINCE: Final = "Unregistered, but registered since"
"""The reason of an UNREGISTERED row that must be kept: APNs' timestamp is earlier than the row's `registered_at`."""
MAX_KINDS: Final = 200
"""Different reasons of a platform that are counted separately; all others are counted together."""
OTHER: Final = "(other reasons)"

_LATER: Final = frozenset(
    verdict.value for verdict in (Verdict.UNSENT, Verdict.THROTTLED, Verdict.UNAVAILABLE)
)
_ORDER: Final = {verdict.value: place for place, verdict in enumerate(Verdict)}
_CHECK_FIRST: Final = {
    APNS: "a wrong --environment or --topic gives the same answer, so check those",
    FCM: "a service account of another project, or an apns, android or webpush part that Google dislikes, gives the same "
    "answer, so check those",
}
_AGAIN: Final = {
    APNS: ", unless the device registered again after the timestamp",
    FCM: "",  # FCM reports no time
}


def drops(verdict: Verdict, reason: str | None) -> bool:
    """Whether the token of a row with this verdict and reason should be deleted."""
    return verdict is Verdict.UNREGISTERED and reason != REGISTERED_SINCE


def reason_of(result: Result, platform: str) -> tuple[str, str]:
    """The reason in the results of a push that was not accepted, and the detail for the summary."""
    detail = "" if result.detail is None else str(result.detail)
    reason = stored_reason(result, platform) or ""
    return reason, detail if detail != reason else ""


class PlatformTally:
    """The counts of one platform.

    `accepted`: accepted rows, without `found`. `counts`: all other rows, by verdict and reason. `first`: for each verdict and
    reason, the first row and its detail. `suspects`: by reason, rows with a rejected token if the configuration may be the
    cause. `found`: by environment, rows without an environment that were accepted in that one. `dead`: tokens to delete.
    `kept`: unregistered tokens that were registered again.
    """

    __slots__ = ("accepted", "counts", "dead", "first", "found", "kept", "platform", "suspects")

    def __init__(self, platform: str) -> None:
        self.platform = platform
        self.accepted = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], tuple[int, str]] = {}
        self.suspects: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.dead = 0
        self.kept = 0

    @property
    def total(self) -> int:
        """Rows that have a result."""
        return self.accepted + self.counts.total()

    def count(self, verdict: Verdict, reason: str, row: int = 0, detail: str = "", times: int = 1) -> None:
        """Count `times` rows, except normal accepted ones. `row`: the first of them, if known. `reason`: for accepted rows, the
        environment that was found."""
        if verdict is Verdict.ACCEPTED and not (reason and self.platform == APNS):
            self.accepted += times
            return
        kind = verdict.value, reason
        if kind not in self.counts and len(self.counts) >= MAX_KINDS:
            kind = verdict.value, OTHER
        if row and (kind not in self.first or row < self.first[kind][0]):
            self.first[kind] = row, detail
        self.counts[kind] += times
        if verdict is Verdict.UNREGISTERED:
            if drops(verdict, reason):
                self.dead += times
            else:
                self.kept += times
        elif verdict is Verdict.ACCEPTED:
            self.found[reason] += times
        elif self.platform and lookup(self.platform, None, reason).suspect:
            self.suspects[reason] += times

    def counted(self) -> list[tuple[str, str, int]]:
        """The number of rows per verdict and reason, in the order of the summary."""
        counted = [(Verdict.ACCEPTED.value, "", self.accepted)] if self.accepted else []
        counted += [(verdict, reason, count) for (verdict, reason), count in self.counts.items()]
        counted.sort(key=lambda line: (_ORDER[line[0]], -line[2]))
        return counted

    def lines(self) -> list[str]:
        """A line for each verdict and reason."""
        lines = []
        for verdict, reason, count in self.counted():
            where = ""
            if (verdict, reason) in self.first:
                row, detail = self.first[verdict, reason]
                more = f", {printable(detail, 120)}" if detail and reason != OTHER else ""
                where = f"  (first: row {row}{more})"
            lines.append(f"  {verdict:<13} {count:>12,}  {printable(reason, 160)}{where}".rstrip())
        return lines

    def advice(self, whose: str) -> list[str]:
        """Advice about unregistered and suspect tokens, and tokens of another environment."""
        lines = []
        for environment, count in self.found.items():
            lines.append(
                f"{environment}: {count:,} {_tokens(count)}{whose} of the {environment} environment; write that into your audience "
                "(environment in the results, and a column of that name)"
            )
        if self.dead:
            lines.append(
                f"dead: {self.dead:,} {_tokens(self.dead)}{whose}; remove {_them(self.dead)} from your "
                f"audience (drop_token yes in the results){_AGAIN[self.platform]}"
            )
        if self.kept:
            lines.append(
                f"keep: {self.kept:,} {_tokens(self.kept)}{whose} that APNs called dead, for the device "
                "registered again since then (registered_at)"
            )
        if self.suspects:
            count = self.suspects.total()
            reasons = ", ".join(
                f"{printable(reason)} {times:,}" for reason, times in self.suspects.most_common()
            )
            lines.append(
                f"suspect: {count:,} {_tokens(count)}{whose} ({reasons}); {_CHECK_FIRST[self.platform]} "
                f"before you drop {_them(count)}"
            )
        return lines


class ResultCounts:
    """The counts of a run by platform; "" has the rows of neither platform."""

    def __init__(self) -> None:
        self.tallies = {platform: PlatformTally(platform) for platform in (APNS, FCM, "")}

    @property
    def accepted(self) -> int:
        """Rows that were accepted."""
        return sum(tally.accepted + tally.found.total() for tally in self.tallies.values())

    @property
    def total(self) -> int:
        """Rows that have a result."""
        return sum(tally.total for tally in self.tallies.values())

    @property
    def undelivered(self) -> int:
        """Rows that were certainly not delivered, and may be accepted later."""
        return sum(
            count
            for tally in self.tallies.values()
            for (verdict, _), count in tally.counts.items()
            if verdict in _LATER
        )

    def take(self, result: Result, platform: str) -> str:
        """Count a push that was not accepted; returns its reason in the results."""
        reason, detail = reason_of(result, platform)
        self.tallies[platform].count(result.verdict, reason, result.push.row, detail)
        return reason

    def lines(self) -> list[str]:
        """A line for each platform, verdict and reason, and advice about tokens."""
        lines: list[str] = []
        tallies = {platform: tally for platform, tally in self.tallies.items() if tally.total}
        for platform, tally in tallies.items():
            if len(tallies) > 1:
                lines.append(f"{NAMES.get(platform, 'neither APNs nor FCM')}: {count_rows(tally.total)}")
            lines += tally.lines()
        return lines + self.advice()

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON values. `reasons` are sorted as in the lines, accepted rows first."""
        reasons = [
            {
                "platform": platform or None,
                "verdict": verdict,
                "reason": printable(reason) or None,
                "rows": count,
                "first_row": tally.first.get((verdict, reason), (None,))[0],
            }
            for platform, tally in self.tallies.items()
            for verdict, reason, count in tally.counted()
        ]
        tallies = self.tallies.values()
        return {
            "rows": self.total,
            "accepted": self.accepted,
            "reasons": reasons,
            "drop_tokens": sum(tally.dead for tally in tallies),
            "keep_tokens": sum(tally.kept for tally in tallies),
            "suspect_tokens": sum(tally.suspects.total() for tally in tallies),
        }

    def advice(self) -> list[str]:
        """Advice about unregistered and suspect tokens."""
        lines: list[str] = []
        several = sum(tally.total > 0 for tally in self.tallies.values()) > 1
        for platform, tally in self.tallies.items():
            lines += tally.advice(f" of {NAMES[platform]}" if several and platform else "")
        return lines

    # --- sums over processes and journals -----------------------------------------------------------------------------

    def add(self, accepted: Mapping[str, int], others: list[list[Any]]) -> None:
        """Add the output of `packed`."""
        for platform, count in accepted.items():
            self.tallies[platform].accepted += count
        for platform, verdict, reason, row, detail, count in others:
            self.tallies[platform].count(Verdict[verdict], reason, row, detail, count)

    def packed(self) -> tuple[dict[str, int], list[list[Any]]]:
        """The counts as JSON values, for `add` in another process."""
        others = [
            [platform, verdict, reason, *tally.first.get((verdict, reason), (0, "")), count]
            for platform, tally in self.tallies.items()
            for (verdict, reason), count in tally.counts.items()
        ]
        return {platform: tally.accepted for platform, tally in self.tallies.items()}, others

    @classmethod
    def of_journal(cls, counted: Mapping[tuple[str, str, str], int]) -> ResultCounts:
        """From a journal's counts by platform, verdict and reason."""
        counts = cls()
        for (platform, name, reason), count in counted.items():
            verdict, tally = Verdict[name], counts.tallies.get(platform, counts.tallies[""])
            tally.count(verdict, reason, times=count)
        return counts


def how_many(rows: int, seconds: float) -> str:
    """A number of rows with time and rate, as text."""
    rate = f", {rows / seconds:,.0f} a second" if seconds > 0 and rows else ""
    return f"{count_rows(rows)} in {seconds:.1f} s{rate}"


def count_rows(count: int) -> str:
    """A number of rows as text: "1 row", "2 rows"."""
    return f"{count:,} {'row' if count == 1 else 'rows'}"


def _tokens(count: int) -> str:
    return "token" if count == 1 else "tokens"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
