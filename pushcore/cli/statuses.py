"""The exit statuses of all commands, and the part of each command's help that lists them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

OK, INCOMPLETE, BAD_INPUT, STOPPED = 0, 1, 2, 3

_FAILED: Final = "interrupted or failed"
_USAGE: Final = "wrong usage or bad input"
_UNSENT: Final = f"{_USAGE}; nothing was sent"
_BREAKER: Final = "stopped: the configuration makes every push to a provider fail"
_JOURNAL: Final = f"{_USAGE}; the journal cannot be read"
_QUEUE: Final = f"{_USAGE}; the queue or the ledger cannot be used"
_REJECTED: Final = {
    INCOMPLETE: "APNs rejected the request or did not respond",
    BAD_INPUT: _UNSENT,
    STOPPED: "rejected, because key, certificate, topic or environment is wrong",
}
_WORKERS: Final = {
    OK: "every worker obeys",
    INCOMPLETE: f"a worker does not obey within five seconds; or {_FAILED}",
    BAD_INPUT: _QUEUE,
}

STATUSES: Final[Mapping[str, Mapping[int, str]]] = {
    "send": {
        OK: "every row has a result",
        INCOMPLETE: "some have none: interrupted or failed; `pushcore resume` continues",
        BAD_INPUT: _UNSENT,
        STOPPED: _BREAKER,
    },
    "resume": {
        OK: "every row of the campaign has its outcome",
        INCOMPLETE: "some have none: interrupted or failed; `pushcore resume` continues",
        BAD_INPUT: _UNSENT,
        STOPPED: _BREAKER,
    },
    "status": {
        OK: "the progress was printed, whatever it is",
        INCOMPLETE: _FAILED,
        BAD_INPUT: _JOURNAL,
    },
    "results": {
        OK: "the results were written; rows without an outcome are left out",
        INCOMPLETE: _FAILED,
        BAD_INPUT: _JOURNAL,
    },
    "check": {
        OK: "everything that was tested is right",
        INCOMPLETE: _FAILED,
        BAD_INPUT: f"{_USAGE}; nothing was tested",
        STOPPED: "something is wrong, or could not be tested",
    },
    "tokens": {OK: "the audience was read", INCOMPLETE: _FAILED, BAD_INPUT: _USAGE},
    "demo": {
        OK: "every result is as expected",
        INCOMPLETE: f"some results are not; or {_FAILED}",
        BAD_INPUT: f"{_USAGE}; the fake servers are not installed",
        STOPPED: _BREAKER,
    },
    "channels create": {OK: "the channel was made", **_REJECTED},
    "channels list": {OK: "the channels were printed", **_REJECTED},
    "channels show": {OK: "the channel was printed", **_REJECTED},
    "channels delete": {OK: "the channel was deleted", **_REJECTED},
    "channels broadcast": {OK: "APNs accepted the message", **_REJECTED},
    "campaign create": {OK: "every row is on the queue", INCOMPLETE: _FAILED, BAD_INPUT: _QUEUE},
    "campaign run": {
        OK: "every row has a result",
        INCOMPLETE: f"some have none: cancelled, {_FAILED}",
        BAD_INPUT: _QUEUE,
    },
    "campaign status": {
        OK: "the progress was printed, whatever it is",
        INCOMPLETE: _FAILED,
        BAD_INPUT: _QUEUE,
    },
    "campaign results": {
        OK: "the collected results were written",
        INCOMPLETE: _FAILED,
        BAD_INPUT: f"{_USAGE}; the ledger cannot be read",
    },
    "campaign pause": _WORKERS,
    "campaign resume": _WORKERS,
    "campaign cancel": _WORKERS,
    "campaign watch": {OK: "the campaign has ended", INCOMPLETE: _FAILED, BAD_INPUT: _QUEUE},
    "worker": {
        OK: "finished, cancelled or drained",
        INCOMPLETE: "the queue was lost, or the worker failed; no row is lost",
        BAD_INPUT: "wrong usage, or wrong credentials for the campaign; nothing was sent",
        STOPPED: _BREAKER,
    },
    "gateway": {
        OK: "ended by SIGTERM or Ctrl-C; with --check, the config is right",
        INCOMPLETE: "it cannot listen, or failed",
        BAD_INPUT: f"{_USAGE}, before anything listens",
    },
}
"""The meaning of each exit status of each command; help, docs and tests take it from here."""


def exit_statuses(command: str) -> str:
    """The end of the help of a command, such as "send" or "campaign run"."""
    return "\n".join(
        ["\b", "Exit status:", *(f"  {status}  {meaning}" for status, meaning in STATUSES[command].items())]
    )
