"""The meaning of a provider's reasons: one row per reason, and `lookup` for stored reasons.

A `Result` carries its row (`Result.row`), and the retry policy, the rate limit and the breaker read it there. A journal,
a tally, the results and the metrics keep words alone, and ask `lookup`. The tables are the providers': `apns.reasons`,
`fcm.errors` and `fcm.legacy_errors` register theirs. Only the providers' own code compares a reason with a string.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
from typing import Final, Literal


class Verdict(enum.Enum):
    """The outcome of a push, and so what its sender should do."""

    ACCEPTED = "ACCEPTED"
    """The provider accepted the push. This does not say that the device has shown it."""
    UNREGISTERED = "UNREGISTERED"
    """The token is dead: drop it (unless the device registered again after `Result.timestamp`)."""
    INVALID = "INVALID"
    """This push is wrong, not the configuration: correct it. A retry cannot help."""
    MISCONFIGURED = "MISCONFIGURED"
    """Key, topic, environment or project is wrong: every push fails until that is corrected."""
    THROTTLED = "THROTTLED"
    """A rate limit of this device, topic or project is exceeded: send it again later."""
    UNAVAILABLE = "UNAVAILABLE"
    """The provider has a problem: send it again later."""
    UNSENT = "UNSENT"
    """It was certainly not processed: if you send it again, no device gets it twice."""
    UNKNOWN = "UNKNOWN"
    """It was written and got no response: it may have been delivered."""


ACCEPTED, UNREGISTERED, INVALID = Verdict.ACCEPTED, Verdict.UNREGISTERED, Verdict.INVALID
MISCONFIGURED, THROTTLED, UNAVAILABLE = Verdict.MISCONFIGURED, Verdict.THROTTLED, Verdict.UNAVAILABLE
UNSENT, UNKNOWN = Verdict.UNSENT, Verdict.UNKNOWN

Blame = Literal["token", "push", "configuration", "provider"]
"""What a reason blames: the token, this push, the key, topic or project, or the provider's state."""
LimitScope = Literal["device", "topic", "project"]
"""Whose rate limit was exceeded."""

_BLAMED: Final[Mapping[Verdict, Blame]] = {
    UNREGISTERED: "token",
    INVALID: "push",
    MISCONFIGURED: "configuration",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """What a provider's reason means: a row of the table of reasons.

    Attributes:
        status: the HTTP status that it comes with, 0 for any.
        name: the provider's word; empty for a response that has only a status.
        verdict: what became of the push.
        advice: one sentence about what to do.
    """

    status: int
    name: str
    verdict: Verdict
    advice: str
    _: KW_ONLY
    wait: float | None = None
    """Seconds to wait before the first retry if the provider states no time; None: do not retry."""
    setting: str | None = None
    """The setting of `RetryPolicy` that overrides `wait`."""
    asked_setting: str | None = None
    """The setting that overrides it if the provider states a time to wait; None: `setting`."""
    early: bool = False
    """The failure of one server or connection: one early retry over another connection may succeed."""
    blames: Blame | None = None
    """What the reason blames; None: what its verdict blames. Read `blame`."""
    suspect: bool = False
    """It blames a token or a push, but as often the cause is a wrong environment, topic or project."""
    if_all: str | None = None
    """What to fix if most pushes are rejected with this reason; None: `advice` says it."""
    about_topic: bool = False
    """It is about the topic of the push, so a message should name the topic."""
    too_large: bool = False
    """The push is larger than the provider accepts."""
    scope: LimitScope | None = None
    """What the exceeded rate limit applies to: "project", "topic" or "device"; None: it is no rate limit."""
    stored: str | None = None
    """The word that journals and results have for it if another row has the same `name`; None: `name`."""

    @property
    def unknown_token(self) -> bool:
        """Whether the server does not know the token; another environment or project may know it."""
        return self.suspect and self.blame == "token" and not self.about_topic

    @property
    def blame(self) -> Blame:
        """The cause that the reason blames: "token", "push", "configuration" or "provider"."""
        return self.blames or _BLAMED.get(self.verdict, "provider")


UNNAMED: Final[Mapping[Verdict, Reason]] = MappingProxyType(
    {
        ACCEPTED: Reason(0, "", ACCEPTED, "No action is needed."),
        UNREGISTERED: Reason(0, "", UNREGISTERED, "Drop the token."),
        INVALID: Reason(0, "", INVALID, "Correct the push."),
        MISCONFIGURED: Reason(
            0,
            "",
            MISCONFIGURED,
            "Correct the key, the certificate or the account: it has no permission for this.",
        ),
        THROTTLED: Reason(
            0, "", THROTTLED, "Slow down.", wait=60.0, setting="fcm_quota_wait", asked_setting="fcm_wait"
        ),
        UNAVAILABLE: Reason(0, "", UNAVAILABLE, "Send again later.", wait=10.0, setting="fcm_wait"),
        UNSENT: Reason(0, "", UNSENT, "Send again.", wait=10.0, setting="transport_wait"),
        UNKNOWN: Reason(
            0,
            "",
            UNKNOWN,
            "Send again only if a second delivery is better than none.",
            wait=10.0,
            setting="transport_wait",
        ),
    }
)
"""The row of a result without a reason that a table has: one for each verdict, with the providers' longer minimum."""

UNEXPECTED: Final = Reason(
    0,
    "UnexpectedResponse",
    MISCONFIGURED,
    "Check the URL, and the proxy if there is one: this response is not the provider's.",
)
"""A response that is not the provider's: an HTML page, an empty body, or JSON of another form. Neither the push nor the key
is to blame, and a retry cannot help before the address is corrected, so it is none of a status's own rows."""
UNEXPECTED_SUCCESS: Final = replace(
    UNEXPECTED, verdict=UNKNOWN, blames="configuration", wait=10.0, setting="transport_wait"
)
"""The same with a status of 2xx: the provider may have taken the push, and its response was lost on the way."""


def temporary_rows(wait: float, setting: str) -> dict[int, Reason]:
    """The rows of the statuses below 500 that speak of this attempt, and neither of the push nor of the key.

    RFC 9110, sections 15.5.9, 15.5.10 and 15.5.20: the server waited too long for the request, it conflicts with another
    one (Google's ABORTED), it came over the wrong connection; RFC 8470, section 5.2: it came too early in TLS.
    """
    advice = "Send again later."
    return {
        status: Reason(
            status, "", UNAVAILABLE, advice, wait=wait, setting=setting, early=status in (408, 421)
        )
        for status in (408, 409, 421, 425)
    }


class ReasonTable:
    """The rows of one provider's interface: by its words, and for other words by the status.

    Args:
        rows: one for each documented word.
        by_status: the rows of a status alone. A key from 100 on is that status, a smaller one its hundreds.
        exact: whether a word counts only with its own status, as one that drops the token always does; otherwise any status of
            the same hundreds will do.
    """

    __slots__ = ("_by_status", "_exact", "rows")

    def __init__(self, rows: Iterable[Reason], by_status: Mapping[int, Reason], *, exact: bool) -> None:
        self.rows: Final[Mapping[str, Reason]] = MappingProxyType({row.name: row for row in rows})
        self._by_status = {2: UNNAMED[ACCEPTED], 4: UNNAMED[INVALID], 5: UNNAMED[UNAVAILABLE], **by_status}
        self._exact = exact

    def find(self, status: int | None, word: str | None) -> Reason | None:
        """The row of a word; None when the word, or the two together, is no row. `status`: None where it is not known."""
        row = self.rows.get(word) if word is not None else None
        if row is None or status is None or not row.status or row.status == status:
            return row
        exact = self._exact or row.verdict is UNREGISTERED  # no other pair may drop a token
        return None if exact or row.status // 100 != status // 100 else row

    def of_status(self, status: int | None) -> Reason:
        """The row of a status alone. Without a status, or with one that no response has, it is UNKNOWN's."""
        if status is None:
            return UNNAMED[UNKNOWN]
        return self._by_status.get(status) or self._by_status.get(status // 100) or UNNAMED[UNKNOWN]

    def of_unexpected(self, status: int) -> Reason:
        """The row of a response that is not in the provider's form.

        A gateway on the provider's own side has its own pages for 429 and 5xx (Google's 502 is HTML and says when to try
        again), and a later retry is right for every sender of the response. Every other status counts only in the provider's form:
        many servers send pages with 404 and 410, and a 200 of another server has no meaning here.
        """
        row = self.of_status(status)
        if row.verdict in (THROTTLED, UNAVAILABLE) or not 200 <= status < 600:
            return row
        return UNEXPECTED_SUCCESS if status < 300 else UNEXPECTED

    def lookup(self, status: int | None, word: str | None) -> Reason:
        """The row of a response: by its word, or by its status when the two are no row."""
        return _choose((self,), self.of_status(status), status, word)


def _choose(tables: Iterable[ReasonTable], by_status: Reason, status: int | None, word: str | None) -> Reason:
    """The word's row where it comes with this status, or means the same verdict as the status does alone."""
    for table in tables:
        row = table.find(status, word)
        if row is not None:
            return row
    for table in tables:
        row = table.find(None, word)
        if row is not None and row.verdict is by_status.verdict:
            return row
    return by_status


_TABLES: Final[dict[str, list[ReasonTable]]] = {}


def register(provider: str, table: ReasonTable) -> ReasonTable:
    """Make a provider's table known to `lookup`; returns it. The first one is asked first, and has the statuses."""
    _TABLES.setdefault(provider, []).append(table)
    return table


def lookup(provider: str | None, status: int | None, word: str | None) -> Reason:
    """The row of a provider's response; never raises.

    Args:
        provider: "apns" or "fcm"; None or another name: any table that has the word.
        status: the HTTP status; None where it is not known: the word decides alone.
        word: the provider's word; None where there is none.

    Returns:
        The word's row; where it does not go with the status, the row of the status; without a status, UNKNOWN's.
    """
    tables = _TABLES.get(provider) if isinstance(provider, str) else None
    word = word if isinstance(word, str) else None
    status = status if isinstance(status, int) else None
    if tables is None:
        tables = [table for those in _TABLES.values() for table in those]
        return _choose(tables, _ANY.of_status(status), status, word)
    return _choose(tables, tables[0].of_status(status), status, word)


def words() -> frozenset[str]:
    """Every word of every table."""
    return frozenset(word for tables in _TABLES.values() for table in tables for word in table.rows)


UNEXPECTED_TABLE: Final = ReasonTable((UNEXPECTED,), {}, exact=False)
"""For providers to register beside their own: `UNEXPECTED` is no word of theirs."""

_ANY: Final = ReasonTable((), {403: UNNAMED[MISCONFIGURED], 429: UNNAMED[THROTTLED]}, exact=True)


def printable_word(value: object, limit: int) -> str | None:
    """`value` if it is text, cut to `limit` characters, without those that do not print: it ends in logs."""
    if not isinstance(value, str):
        return None
    text = value[:limit]
    if not text.isprintable():  # character by character it costs twenty times as much
        text = "".join([char if char.isprintable() else " " for char in text])
    return text.strip() or None


_TITLE: Final = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_MAX_TITLE: Final = 60


def describe_unexpected(provider: str, status: int, body: bytes) -> str:
    """A sentence about a response that is not the provider's, for people.

    Args:
        provider: whose response was expected, such as "APNs".
        status: of the response.
        body: its body; what there was of it.
    """
    start = body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        content = "an empty body"
    elif start.startswith(b"<"):
        content = "an HTML page"
        title = _TITLE.search(start)
        words = printable_word(title[1].decode("utf-8", "replace"), _MAX_TITLE) if title is not None else None
        if words:
            content += f', "{words}"'
    elif start[0] in b"{[":
        content = "JSON of another form"
    else:
        content = "a body that is not JSON"
    if status == 429 or status >= 500:  # Google's own gateways have pages for these
        return f"{status} with {content}: a response of a gateway or a proxy, not in the form of {provider}"
    return f"this is not a response of {provider} (a proxy, a wrong URL?): {status} with {content}"
