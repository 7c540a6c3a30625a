"""What to do after a message, by the part of the code that it comes from. Only this is written by hand: the messages are the code's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPERATORS: Final = Path(__file__).parents[1] / "docs" / "operations" / "operators.md"


@dataclass(frozen=True)
class Group:
    """The messages of some files. `files`: beginnings of their paths; the group with the longest one that fits has the file."""

    heading: str
    advice: str
    files: tuple[str, ...]


GROUPS: Final = (
    Group(
        "Options and settings",
        "An option, an argument, a variable or a key of a settings file is wrong or missing. Nothing was sent, the exit status is 2. "
        "Correct what the message names; `pushcore COMMAND --help` describes each option, "
        "[Commands](../reference/commands.md) all of them.",
        ("pushcore/cli", "pushcore/payloads/formats"),
    ),
    Group(
        "Runs of send and resume",
        "How a run goes on or ends. [Exit statuses](exit-statuses.md) say whether it is complete; if it is not, remove the cause that "
        "the message names, and run `pushcore resume` (with a journal) or send the remaining rows.",
        (
            *("pushcore/cli/run/campaign", "pushcore/cli/run/dry_run", "pushcore/cli/run/exit_report"),
            *("pushcore/cli/run/job", "pushcore/cli/run/processes"),
            *("pushcore/cli/run/run_plan", "pushcore/cli/run/sending"),
        ),
    ),
    Group(
        "Notices and summaries",
        "What was counted, and what a provider has asked for; nothing is wrong with the run. Drop the tokens called *dead* from your "
        "audience; find out about *suspect* ones first ([the guide](../guides/sending.md)).",
        ("pushcore/cli/report",),
    ),
    Group(
        "pushcore check and channels",
        "The provider's response to a test, or to a request about channels. A failure names the reason: look it up under "
        "[APNs](apns.md), [FCM](fcm.md) or [channels](channels.md).",
        ("pushcore/cli/commands/check", "pushcore/cli/commands/channels"),
    ),
    Group(
        "pushcore tokens, status and results",
        "Counts of rows and tokens. A token of another kind than its column says needs another provider, or the right token from the app.",
        (
            *("pushcore/cli/commands/tokens", "pushcore/cli/commands/status"),
            "pushcore/cli/commands/results",
        ),
    ),
    Group(
        "pushcore demo",
        "The demo sends to fake servers on this machine. If results are not as expected, report it with the output.",
        (
            *("pushcore/cli/commands/demo", "pushcore/cli/run/demo_audience"),
            "pushcore/cli/run/fake_servers",
        ),
    ),
    Group(
        "Credentials that are read again",
        "A worker or the gateway has read its keys again (SIGHUP). If they cannot be used, the old ones stay in use: correct them, and "
        "send SIGHUP again.",
        ("pushcore/cli/run/renewal",),
    ),
    Group(
        "Keys and certificates",
        "A key, a certificate, an account or a secret cannot be used, or stands where another value is expected. The message says what "
        "was found. [Credentials](../start/credentials.md) says where each comes from.",
        ("pushcore/auth", "pushcore/key_material", "pushcore/redaction"),
    ),
    Group(
        "Access tokens",
        "Google gave no access token, so nothing was sent to FCM. Check the service account's key, this machine's clock, and that "
        "oauth2.googleapis.com can be reached.",
        ("pushcore/auth/access_token", "pushcore/auth/service_account", "pushcore/auth/clock"),
    ),
    Group(
        "Audiences",
        "A file of devices cannot be read, or one of its rows cannot. A row that cannot be read is INVALID, and the other rows are sent; "
        "a file that cannot be read ends the command. Correct the file: "
        "CSV with commas and a header, NDJSON or Parquet, in UTF-8 ([the audience](../guides/sending.md)).",
        ("pushcore/audience",),
    ),
    Group(
        "Rows and payloads",
        "A payload file or one of its values cannot be used, or a row does not fit it. A row with such an error is INVALID, and nothing "
        "is sent for it. Correct the payload, the column or the row that the message names; `pushcore send --dry-run` checks all rows.",
        ("pushcore/payloads",),
    ),
    Group(
        "Tokens",
        "A string cannot be a token of the provider: the push is INVALID, and nothing was sent. Correct it where your program stores it; "
        "the app must pass on the token unchanged (APNs: as hexadecimal). `pushcore tokens` lists such rows.",
        ("pushcore/models/token",),
    ),
    Group(
        "Contents of pushes to APNs",
        "A part of a notification is wrong or has no effect. A wrong part makes the push INVALID or raises `ValueError`; a part without "
        "an effect is a warning. Correct the payload as the message says.",
        (
            "pushcore/models/apns",
            "pushcore/models/aps",
            "pushcore/models/times",
            "pushcore/models/json_values",
        ),
    ),
    Group(
        "Messages to FCM",
        "A part of a message has a wrong name, type or value, which Google would reject. The push is INVALID, and nothing was sent: correct "
        "the field that the message names.",
        ("pushcore/models/fcm",),
    ),
    Group(
        "Messages in Expo's format",
        "A field of a message in Expo's format is wrong, or has no equal at the provider. Correct it; "
        "[From Expo](../guides/from-expo.md) lists the fields.",
        ("pushcore/models/expo",),
    ),
    Group(
        "Requests to APNs",
        "A notification was not sent, because APNs would reject it: the push is INVALID, and `detail` has this sentence. Correct the field "
        "that it names.",
        ("pushcore/apns",),
    ),
    Group(
        "Requests to FCM",
        "A message was not sent, because Google would reject it, or Google's response says this. `detail` has the sentence: correct the "
        "field that it names, or look the reason up under [FCM](fcm.md).",
        ("pushcore/fcm",),
    ),
    Group(
        "Runs of an engine",
        "What an engine did with pushes: retried, delayed or stopped them. If the breaker is open, every push would fail: correct what the "
        "message names.",
        ("pushcore/engine",),
    ),
    Group(
        "Connections",
        "The peer violated HTTP/2, or closed the connection. pushcore opens another one. If it repeats, check that the URL is the "
        "provider's and that no proxy changes the connection.",
        ("pushcore/http2",),
    ),
    Group(
        "Connecting, TLS and proxies",
        "No connection could be made, so nothing was sent. Check the address, the network, the proxy and the certificates; "
        "[Operators](../operations/operators.md#log-lines) explains errors of a proxy.",
        ("pushcore/http2/tls", "pushcore/http2/proxy", "pushcore/http2/dialer", "pushcore/http2/pool"),
    ),
    Group(
        "Journals",
        "The journal of a campaign cannot be used as it is. Its content is safe. Do what the message says, then run `pushcore resume`.",
        ("pushcore/journal",),
    ),
    Group(
        "Campaigns on a queue",
        "The queue, the ledger or a chunk cannot be used. No row is lost: correct what the message names, and start the command again "
        "([Queues](../guides/queue.md)).",
        ("pushcore/queue", "pushcore/cli/commands/campaign", "pushcore/cli/commands/worker"),
    ),
    Group(
        "The conformance suite for queues",
        "An adapter for a broker does not keep a rule of the protocol. Correct the adapter; each check's docstring has its rule.",
        ("pushcore/queue/brokers/conformance",),
    ),
    Group(
        "The gateway",
        "The gateway is misconfigured, or rejects a request with a problem document that has this sentence in `detail`. Correct the "
        "request or `gateway.toml`; [the guide](../guides/gateway.md) has the keys and the statuses.",
        ("pushcore/gateway", "pushcore/cli/commands/gateway"),
    ),
    Group(
        "Expo's dialect of the gateway",
        "The response to a request in Expo's dialect. `not sent` and `not forwarded` may be sent again; `may have been delivered` may not "
        "be without a risk of a second delivery. Otherwise correct the request, the token or `[app.expo]`.",
        ("pushcore/gateway/expo",),
    ),
    Group(
        "Arguments and results",
        "An argument of pushcore's API is wrong (correct the value that the message names), or a result has this sentence as `detail`.",
        (
            *("pushcore/__init__", "pushcore/arguments", "pushcore/latency", "pushcore/metrics"),
            *("pushcore/reasons", "pushcore/transport_errors"),
        ),
    ),
    Group(
        "Starting the fake servers",
        "An option or a file of `python -m fakeservers` is wrong; the exit status is 2. Correct what the message names "
        "([The fake servers](../reference/fakeservers.md)).",
        ("fakeservers",),
    ),
    Group(
        "Fault plans",
        "A fault plan has a mistake, or describes an error that a fake makes on purpose. "
        "[Faults](../reference/fakeservers-faults.md) has the keys and values.",
        ("fakeservers/faults",),
    ),
    Group(
        "The control port of the fakes",
        "The control port rejects a request, with this sentence in `detail`. Correct the request "
        "([The control port](../reference/control-port.md)).",
        ("fakeservers/control",),
    ),
    Group(
        "Responses of the fakes",
        "What a fake responds, as the provider would: look the reason up under [APNs](apns.md) or [FCM](fcm.md), and correct the sender.",
        ("fakeservers/apns", "fakeservers/fcm", "fakeservers/responses"),
    ),
    Group(
        "Connections of the fakes",
        "A fake has closed a connection or rejected a request, because the client violated HTTP/2 or the proxy's rules. Correct the client.",
        ("fakeservers/serving",),
    ),
)
"""The groups of the page of messages, in its order."""


def group_of(file: str) -> Group | None:
    """The group of a file such as "pushcore/cli/main.py"; None if no group has it."""
    fitting = [(len(start), group) for group in GROUPS for start in group.files if file.startswith(start)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def fixed_part(sentence: str) -> str:
    """The longest part of a sentence that does not vary."""
    return max(sentence.strip().split("…"), key=len).strip()


def log_advice() -> dict[str, tuple[str, str]]:
    """Level and advice of each line in the operators' tables of log lines."""
    rows = re.findall(
        r"^\| (INFO|WARNING|ERROR) \| (.*?) \| (.*) \|$", OPERATORS.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {
        re.sub(r"\b(?:HOST|PORT|EVENT)\b", "…", line): (level, advice)
        for level, lines, advice in rows
        for line in re.findall(r"`([^`]*)`", lines)
    }


def advice_of_line(sentence: str) -> tuple[str, str] | None:
    """Level and advice of a log line, or of the line that has its fixed words; None if the operators' tables have none."""
    known = log_advice()
    if sentence in known:
        return known[sentence]
    fitting = [line for line in known if fixed_part(line) in sentence or fixed_part(sentence) in line]
    return known[max(fitting, key=lambda line: len(fixed_part(line)))] if fitting else None
