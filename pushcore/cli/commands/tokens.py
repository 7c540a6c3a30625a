"""`pushcore tokens`: counts the tokens of an audience by kind."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, TextIO

import click
import orjson

from ...audience.audience import Audience
from ...audience.problems import BadInput, BadRow, printable
from ...models.tokens import TokenKind, recognise
from ...payloads.devices import FCM, find_device, text_of, token_of
from ...payloads.duplicates import TokenSample, duplicate_lines
from ..options import results_raw_option
from ..report.notices import say
from ..report.output import harmless, harmless_token, open_output, quoted, refuse_same_file
from ..report.tally import MAX_KINDS, OTHER
from ..sections import argument, command, option, section
from ..statuses import OK, exit_statuses

HELP = """Print the kind of each token of an audience.

\b
  pushcore tokens devices.csv --output kinds.csv

AUDIENCE is CSV, NDJSON or Parquet, as for `pushcore send`. Nothing is sent, and no account is needed. It counts:

\b
  apns     device tokens of APNs
  fcm      registration tokens of FCM
  fid      Firebase installation ids, which are sent through FCM
  expo     ExponentPushTokens, to which only Expo's service can send
  unknown  none of these, or not what the column platform says

This checks the form of tokens, not whether they work. With --json it writes one object.

""" + exit_statuses("tokens")

COLUMNS = ("row", "token", "kind", "platform", "reason")
_EXPLAINED = {
    "apns": "device tokens of APNs",
    "fcm": "registration tokens of FCM",
    "fid": "Firebase installation ids",
    "expo": "tokens of Expo's service, to which only Expo can send",
    "unknown": "none of these, or not what the row says",
}

_output = section("Audience and results")


@command(offline=True, help=HELP, short_help="Print the kind of each token of an audience.")
@argument("audience", metavar="AUDIENCE")
@_output(
    "--output",
    metavar="FILE",
    help=f'CSV with a line for each row: {", ".join(COLUMNS)}. "-" is the standard output, and the counts are then written '
    "to the standard error.",
)
@results_raw_option
@option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def tokens(audience: str, output: str | None, results_raw: bool, as_json: bool) -> int:
    """Runs the command; the exit status."""
    with Audience(audience) as source:
        if output is not None:
            if source.same_file(output):
                raise BadInput(f"{output} is the audience; expected another file")
            refuse_same_file(output, audience, purpose="the kinds")
        for notice in source.notices:
            say(notice)
        source.select({"token", "platform"})
        with contextlib.closing(TokenCounts(output, raw=results_raw)) as count:
            count.read(source)
    lines = count.lines()
    if as_json:
        lines = [orjson.dumps(count.to_dict(), option=orjson.OPT_INDENT_2).decode()]
    for line in lines:
        click.echo(line, err=output == "-")
    return OK


class TokenCounts:
    """Counts tokens by kind, and writes a line for each row to `path` if it is set. Raises `BadInput`, `OSError`."""

    def __init__(self, path: str | None, *, raw: bool = False) -> None:
        self._raw = raw
        self.kinds: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.sample = TokenSample()
        self._file: TextIO | None = None
        if path is not None:
            self._file, _ = open_output(path, "the tokens' kinds")
            self._file.write(",".join(COLUMNS) + "\n")

    def read(self, source: Audience) -> None:
        """Count all rows of an audience."""
        columns = source.columns
        token_at: Any = None if columns is None else source.index("token")
        platform_at: Any = "platform"
        if columns is not None:
            platform_at = source.index("platform") if "platform" in columns else None
        for number, values in source.records(self._bad):
            token: Any
            if columns is None:
                token, said = token_of(values), values.get(platform_at)
            else:
                token, said = values[token_at], None if platform_at is None else values[platform_at]
            self._count(number, token, said, values if columns is None else ())

    def _count(self, number: int, token: object, said: object, keys: Iterable[str]) -> None:
        recognised = recognise(token)
        kind = recognised.kind
        try:
            device = find_device(token, said, keys=keys)
        except BadRow as error:
            if kind is not TokenKind.EXPO:
                kind = TokenKind.UNKNOWN
            self._put(number, text_of(token), kind.value, error.platform, str(error))
            return
        if device.platform == FCM:
            self.sample.add_of_fcm(device.token)
        else:
            self.sample.add(device.token)
        if kind is TokenKind.UNKNOWN or kind.value != device.platform:
            kind = TokenKind(device.platform) if not device.fid else TokenKind.FID
        self._put(number, device.token, kind.value, device.platform, "")

    def _bad(self, number: int, token: str, reason: str) -> None:
        self._put(number, token, TokenKind.UNKNOWN.value, "", reason)

    def _put(self, number: int, token: str, kind: str, platform: str, reason: str) -> None:
        self.kinds[kind] += 1
        if reason and kind == TokenKind.UNKNOWN.value:
            known = reason in self.reasons or len(self.reasons) < MAX_KINDS
            self.reasons[reason if known else OTHER] += 1
        if self._file is not None:
            if not self._raw:
                token, reason = harmless_token(token), harmless(reason)
            self._file.write(f"{number},{quoted(token)},{kind},{platform},{quoted(reason)}\n")

    def close(self) -> None:
        """Write the rest and close the file."""
        if self._file is not None:
            self._file.close()

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON values, with 0 for a kind without tokens."""
        reasons = [
            {"reason": printable(reason, 160), "rows": rows} for reason, rows in self.reasons.most_common()
        ]
        kinds = {kind: self.kinds[kind] for kind in _EXPLAINED}
        return {"rows": self.kinds.total(), "kinds": kinds, "reasons": reasons}

    def lines(self) -> list[str]:
        """The counts, and the reasons of the unknown tokens."""
        lines = [
            f"{kind:<8} {self.kinds[kind]:>12,}  {text}"
            for kind, text in _EXPLAINED.items()
            if self.kinds[kind]
        ]
        lines += [f"  {count:>19,}  {printable(reason, 160)}" for reason, count in self.reasons.most_common()]
        lines += duplicate_lines(self.sample, left_out=False)
        return [*lines, f"{'in all':<8} {self.kinds.total():>12,}"]
