"""Results from the journals of a campaign: the rows with an outcome, in order, as CSV, NDJSON or Parquet."""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import IO, Any, Final

import orjson

from ...audience.problems import BadInput
from ...journal.format import UniformOutcomes, singly
from ...journal.journal import JournalView, Outcome
from ...journal.outcome import PLAIN, PLAIN_APNS
from ...results import Verdict
from .output import iso
from .results_file import HEADER, csv_row
from .tally import drops

CSV, NDJSON, PARQUET = "csv", "ndjson", "parquet"
FORMATS: Final = (CSV, NDJSON, PARQUET)
BATCH: Final = 1000
"""Rows that are written at a time. A much longer text would cost twice as much, because of the allocation of large memory."""


def outcomes_of(
    views: list[JournalView], verdict: Verdict | None = None
) -> Iterator[UniformOutcomes | list[Outcome]]:
    """The outcomes of all journals, or those with this verdict, in batches. Raises `JournalError`."""
    if len(views) == 1:
        return views[0].batches(verdict)
    return batched(heapq.merge(*(view.results(verdict) for view in views), key=itemgetter(0)))


def batched(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    """The outcomes in batches of `BATCH`."""
    rows = iter(outcomes)
    while batch := list(islice(rows, BATCH)):
        yield batch


def write(
    batches: Iterable[UniformOutcomes | list[Outcome]], file: IO[bytes], form: str, *, raw: bool = False
) -> int:
    """Write outcomes in one of `FORMATS`; returns their number. `raw`: for CSV, see `csv_row`.

    Raises:
        BadInput: the extra for Parquet is not installed.
        OSError: the file cannot be written.
    """
    if form == PARQUET:
        return _write_parquet(batches, file)
    count = 0
    lines = partial(_csv_lines, raw=raw) if form == CSV else _json_lines
    if form == CSV:
        file.write(HEADER.encode())
    for batch in batches:
        for few in _by_the_thousand(batch):
            file.write(lines(few))
            count += len(few.entries) if type(few) is UniformOutcomes else len(few)
    return count


def _by_the_thousand(batch: UniformOutcomes | list[Outcome]) -> Iterator[UniformOutcomes | list[Outcome]]:
    if isinstance(batch, UniformOutcomes):
        for at in range(0, len(batch.entries), BATCH):
            yield UniformOutcomes(batch.kind, batch.entries[at : at + BATCH])
    else:
        for at in range(0, len(batch), BATCH):
            yield batch[at : at + BATCH]


def _csv_lines(batch: UniformOutcomes | list[Outcome], *, raw: bool) -> bytes:
    if type(batch) is UniformOutcomes and batch.kind == PLAIN[PLAIN_APNS]:
        # Token and id need no quotes: both were checked before they were sent.
        lines = [
            f"{row},{token},apns,ACCEPTED,200,,{sent_id or ''},,1,,\n"
            for row, token, sent_id in batch.entries
        ]
    else:
        lines = [csv_row(*outcome, raw) for outcome in singly(batch)]
    # Surrogates stand for bytes of the audience that are not UTF-8; the same bytes are written.
    return "".join(lines).encode("utf-8", "surrogateescape")


def _json_lines(batch: UniformOutcomes | list[Outcome]) -> bytes:
    return b"".join(
        orjson.dumps(_values(outcome), option=orjson.OPT_APPEND_NEWLINE) for outcome in singly(batch)
    )


def _values(outcome: Outcome) -> dict[str, Any]:
    row, token, platform, verdict, status, reason, sent_id, timestamp, attempts = outcome
    return {
        "row": row,
        "token": _clean(token),
        "platform": platform,
        "verdict": verdict.value,
        "status": status,
        "reason": None if reason is None or outcome.environment else _clean(reason),
        "id": sent_id,
        "timestamp": None if timestamp is None else iso(timestamp),
        "attempts": attempts,
        "drop_token": drops(verdict, reason),
        "environment": outcome.environment,
    }


def _clean(text: str) -> str:
    """The text without surrogates, which neither JSON nor Parquet allows."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _write_parquet(batches: Iterable[UniformOutcomes | list[Outcome]], file: IO[bytes]) -> int:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput('--format parquet needs pip install "pushcore[parquet]"') from None
    text = arrow.string()
    schema = arrow.schema(
        [
            *(("row", arrow.int64()), ("token", text), ("platform", text), ("verdict", text)),
            *(("status", arrow.int32()), ("reason", text), ("id", text)),
            ("timestamp", arrow.timestamp("ms", "UTC")),
            *(("attempts", arrow.int32()), ("drop_token", arrow.bool_())),
            ("environment", text),
        ]
    )
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for batch in map(singly, batches):
            values = [_values(outcome) for outcome in batch]
            for value, outcome in zip(values, batch, strict=True):
                value["timestamp"] = None if outcome.timestamp is None else round(outcome.timestamp * 1000)
            columns = [
                arrow.array([outcome[name] for outcome in values], kind) for name, kind in _types(schema)
            ]
            writer.write_batch(arrow.record_batch(columns, schema=schema))
            count += len(batch)
    return count


def _types(schema: Any) -> list[tuple[str, Any]]:
    return [(field.name, field.type) for field in schema]
