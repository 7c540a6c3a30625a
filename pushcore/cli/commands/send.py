"""`pushcore send`: an audience and a payload in, a row of results for each row out."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from ...audience.audience import Audience
from ...audience.problems import BadInput
from ...audience.shards import MAX_PROCESSES
from ...payloads.duplicates import TokenSample
from ...payloads.rows import Rows, notices_of
from ..options import credential_options, push_options, results_raw_option, sending_options
from ..profiles import settings_options
from ..report.notices import say
from ..report.output import refuse_same_file
from ..report.results_file import ResultsFile
from ..run.client_options import ClientOptions
from ..run.dry_run import dry_run as try_all
from ..run.job import Job, duplicates_of
from ..run.journals import JournalPlan
from ..run.run_plan import nowhere
from ..run.sending import SendingOptions
from ..sections import add, command, section

HELP = """Push to every device of an audience, through APNs, FCM or both, and write what became of each.

\b
  pushcore send --apns-key AuthKey_ABC123DEFG.p8 --key-id ABC123DEFG \\
      --team-id TEAM123456 --topic com.example.app \\
      --fcm-service-account service-account.json \\
      --audience devices.csv --payload payload.json --results results.csv

AUDIENCE is read row by row however large it is, plain or packed with gzip. CSV is UTF-8, and has commas and a header
row with a column "token". NDJSON has an object with "token" on each line; a name that ends in .ndjson or .jsonl (or that
and .gz) says so, without .csv the first character does ("{"). Parquet is known by its first bytes, and needs the extra
pushcore[parquet]. "-" reads the standard input, of CSV and NDJSON. Empty lines are no rows. In rows for APNs, the columns
topic, push_type, priority, expiration, collapse_id and apns_id take the place of the option where they are not empty.

A row goes to APNs where the column platform says ios or apns, to FCM where it says android or fcm; where there is
no such column, or nothing in it, the token tells: APNs', FCM's registration token, or a Firebase installation id.
The token may also be the JSON that getDevicePushTokenAsync returns, {"type": "ios", "data": "..."}. In a run with one
provider, a token of unknown shape is believed to be that provider's. An ExponentPushToken is INVALID: only Expo's
own service can send to it.

PAYLOAD is a JSON object in one of these formats, which is recognised unless --payload-format says it:

\b
  {"title": "Hi", "body": "...", "data": {...}}  Expo's, for both providers
  {"aps": {"alert": "Hi"}, ...}                  what APNs takes
  {"message": {"data": {"title": "Hi"}}}         what FCM's v1 API takes, without a target
  {"apns": {...}, "fcm": {...}}                  one for each, in any of the formats above
  {"priority": "high", "data": {"title": "Hi"}}  Expo's listing for Android: sent through v1

{{column}} in its texts is replaced by the row's value, whatever characters that has:

\b
  {"aps": {"alert": "Hi {{name}}", "badge": "{{badge:int}}"}, "order": "{{order}}"}

A text that is nothing but a placeholder becomes the value itself: of NDJSON and Parquet with its type (a time as text),
of CSV a text, unless it reads {{column:int}}, {{column:float}} or {{column:json}}. Where nothing but text goes, as in a
title or in data for FCM, a number, true or false becomes its text; {{column:text}} has that anywhere. There and within a
longer text, null, objects and lists make the row INVALID. A backslash before a placeholder (in JSON: two) keeps it as it
stands. Keys cannot hold placeholders.

What the payload cannot show is said on the standard error before anything is sent, unless --quiet: a message in which
nothing is visible, a key that Expo's format does not have, a picture that Android leaves out with --android data.

RESULTS is CSV with the columns row, token, platform, verdict, status, reason, id, timestamp, attempts, drop_token, in
order of completion; "-" writes to the standard output. `row` counts the audience's rows from 1, `platform` is apns or
fcm (empty where nothing tells), `timestamp` is when APNs knew that a token was dead, and `drop_token` is yes where you
should forget the token. A row that cannot be parsed or sent is INVALID there, and the others are sent.

An UNREGISTERED token is not to be dropped where the audience has a column registered_at that is not before the
timestamp: its device has registered again since. Then the reason is "Unregistered, but registered since", drop_token is
empty, and the summary counts it apart. registered_at is ISO 8601, UTC unless it has a zone, or UNIX seconds or
milliseconds. It says nothing about tokens of FCM, for which Google gives no time.

What is surely not delivered (THROTTLED, UNAVAILABLE, UNSENT) is sent again by the provider's rules, up to --max-age; its
row has the last answer. When the answers say that it is the configuration that makes every push to a provider fail,
no more is sent to it: 20 in a row that blame it and nothing accepted before, half of the last answers, or four fifths of
them BadDeviceToken, DeviceTokenNotForTopic or SENDER_ID_MISMATCH, which mean a wrong environment, topic or project then.
Of two providers, the other one's rows are sent as before, and the rest of the stopped one's are UNSENT in the
results; with one, the audience is read no further. The exit status is 3 either way.

Ctrl-C stops reading, waits for answers and writes their results; what waits to be sent again gets the result that it
has, what waits for its first time is UNSENT. A second one stops at once.

--journal FILE, a new file, keeps on the disk what was sent and what became of it, so that the campaign survives a kill or a
power failure: `pushcore resume FILE` goes on, `pushcore status FILE` says how far it is, `pushcore results FILE` writes
the results. It holds tokens and answers, and neither keys nor payloads. What waits for a repeat, or was held back
because of the configuration, has no result then but is left to be sent by `resume`. --results is written in the end, out of
the journal, and again by `resume`; without it there are the journal's results alone. The audience must be a file.

--processes N divides the rows among so many processes, each with its own connections and window; rate and quota
are those of all. Each has its own journal: FILE, FILE.1 and so on, and the first name stands for all.

Rows with a device that a row before has are counted, of more than 65,536 tokens by a sample, and said in the summary
(with --processes, --dry-run or `pushcore tokens` say it). --unique leaves them out; a Firebase installation id and a token that
begins with it are one device. For that the audience, a file, is read twice; memory holds one bit for each row and a few
megabytes, and 25 to 50 bytes a row are in a temporary file meanwhile.

--dry-run does everything but send: it reads the audience, makes every request, and says how many there are of which kind,
how many are INVALID and why, and how many bytes the payloads have. --results is not needed then, and gets the INVALID
rows alone.

Every option can also be a variable of the environment, PUSHCORE_APNS_KEY for --apns-key and so on, or stand in a TOML
file that --config or PUSHCORE_CONFIG names; its paths are relative to its own place:

\b
  [send]
  apns-key = "AuthKey_ABC123DEFG.p8"
  key-id = "ABC123DEFG"
  [profile.sandbox]
  environment = "sandbox"

Keys, certificates, the service account and --ca-file may also be the content of such a file, PEM, JSON or base64 of it, as
a secret store puts it into a variable. A key in the place of any other value is refused, and never repeated.

The command line goes before the environment, that before [profile.NAME] with --profile NAME, and that before [send].

\b
Exit status:
  0  every row has a result
  1  some have none: it was interrupted, or something broke; with --journal,
     `pushcore resume` goes on
  2  wrong usage or bad input; nothing was sent
  3  stopped, because key, topic, certificate, environment, service account or
     project make every push to a provider fail
"""

_rows = section("Audience and results")
_OPTIONS = (
    _rows("--audience", required=True, metavar="FILE", help="The devices: CSV, NDJSON or Parquet."),
    _rows("--results", metavar="FILE", help="Where the results go."),
    _rows(
        "--journal", metavar="FILE", help="Where to keep what was sent, for `pushcore resume`; a new file."
    ),
    _rows(
        "--unique",
        is_flag=True,
        help="Send to each device once: later rows with the same one are left out, as INVALID.",
    ),
    _rows("--dry-run", is_flag=True, help="Send nothing, but say what would be sent."),
    results_raw_option,
    _rows("--quiet", is_flag=True, help="No progress and no summary."),
    _rows(
        "--json",
        is_flag=True,
        help="The summary as one JSON object on the standard output; see docs/operations/operators.md.",
    ),
)
_PROCESSES = (
    section("Sending")(
        "--processes",
        type=click.IntRange(1, MAX_PROCESSES),
        default=1,
        show_default=True,
        metavar="N",
        help="Send with so many, one for each core, say; each has its own connections and window.",
    ),
)


@command(help=HELP, short_help="Push to every device of an audience.")
@partial(add, options=_OPTIONS)
@push_options
@credential_options
@sending_options
@partial(add, options=_PROCESSES)
@settings_options
def send(
    audience: str,
    results: str | None,
    journal: str | None,
    unique: bool,
    dry_run: bool,
    quiet: bool,
    json: bool,
    results_raw: bool,
    processes: int,
    **options: Any,
) -> int:
    """Runs the command; the exit status."""
    sender, sending = ClientOptions.of(options), SendingOptions.of(options)
    if json and (dry_run or results == "-"):
        raise BadInput(
            "--json writes to the standard output; expected neither --dry-run nor --results - with it"
        )
    if dry_run:
        if quiet or results == "-":
            raise BadInput(
                "--dry-run writes to the standard output; expected neither --quiet nor --results - with it"
            )
        if journal is not None:
            raise BadInput("--dry-run sends nothing that a --journal could keep; expected one of them")
        return _try_all(sender, audience, results, raw=results_raw, unique=unique)
    if results is None and journal is None:
        raise BadInput('--results FILE is missing, or --journal FILE; "-" is the standard output')
    if processes > 1 and not hasattr(os, "fork"):
        raise BadInput("--processes needs a system that can fork; expected 1")
    plan = (
        None if journal is None else JournalPlan.begin(journal, processes, audience, results, unique=unique)
    )
    return Job(
        sender=sender,
        sending=sending,
        audience=audience,
        results=results,
        plan=plan,
        processes=processes,
        quiet=quiet,
        as_json=json,
        results_raw=results_raw,
        unique=unique,
    ).run()


def _try_all(sender: ClientOptions, audience: str, results: str | None, *, raw: bool, unique: bool) -> int:
    clients = sender.clients()
    apns, fcm = sender.makers(clients)
    with Audience(audience) as source:
        if results is not None:
            if source.same_file(results):
                raise BadInput(f"{results} is the audience; expected another file for the results")
            refuse_same_file(results, *sender.files)
        duplicates = duplicates_of(source, audience, list(clients)) if unique else None
        sample = None if unique else TokenSample()
        rows = Rows(source, apns, fcm, nowhere, sample=sample, duplicates=duplicates)
        for notice in notices_of(apns, fcm):
            say(notice)
        report = ResultsFile.to_file(results if results is not None else os.devnull, raw=raw)
        rows.on_bad = report.bad_row
        return try_all(clients, rows, report)
