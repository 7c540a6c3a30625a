"""The rows of a journal's tables, checked: SQLite has no types, and a damaged file may give anything. No I/O.

The bounds are generous and finite, so that damage is never a loop without an end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..results import Verdict
from .campaign import CampaignRecord, RunRecord, Source
from .format import BLOCK, OutcomeTally, bitmap, is_whole

LARGEST_CHUNK: Final = 10_000
"""Rows of a chunk at most."""
_MOST: Final = 1 << 48
"""Above every number of rows, parts and attempts."""
_LATEST: Final = 1e11
"""Above every time, in UNIX seconds."""
_BITS: Final = (1 << BLOCK) - 1


class DamagedError(Exception):
    """A row is not what a journal writes. Its text says which."""


def campaign(row: Any) -> CampaignRecord:
    """The only row of `campaign`."""
    _check("campaign", row, str, float, int, int, int, str, str, (int, type(None)))
    name, began, chunk_size, shard, shards, text, options, rows = row
    source, given = _json(text), _json(options)
    _require("campaign", isinstance(source, dict) and isinstance(given, dict))
    _require(
        "campaign", 1 <= chunk_size <= LARGEST_CHUNK and 0 <= shard < shards < _MOST and 0 <= began < _LATEST
    )
    try:
        described = Source(**source)
    except (TypeError, ValueError):
        raise DamagedError("the description of its source") from None
    return CampaignRecord(name, began, chunk_size, shard, shards, described, given, _count(rows))


def runs(rows: Sequence[Any]) -> list[RunRecord]:
    """All rows of `run`."""
    _require("run", bool(rows))
    return [_run(row) for row in rows]


def _run(row: Any) -> RunRecord:
    text = (str, type(None))
    _check("run", row, int, float, float, (float, type(None)), int, int, int, str, text, int)
    run, began, updated, ended, upto, parts, repeats, counted, problem, resends = row
    for moment in (began, updated, ended or 0.0):
        _require("run", 0 <= moment < _LATEST)
    for number in (run, upto, parts, repeats):
        _count(number)
    return RunRecord(
        run, began, updated, ended, upto, parts, repeats, _tally(counted), problem, bool(resends)
    )


def _tally(text: str) -> OutcomeTally:
    tally: OutcomeTally = Counter()
    kinds = _json(text)
    _require("run", isinstance(kinds, list))
    for kind in kinds:
        _check("run", kind, str, str, str, int)
        platform, verdict, reason, count = kind
        _require("run", verdict in Verdict.__members__)
        tally[platform, verdict, reason] = _count(count) or 0
    return tally


def part(row: Any) -> tuple[int, bytes]:
    """The key and the bitmap of a row of `part`."""
    _check("part", row, int, bytes, bytes)
    key, bits, blob = row
    _require("part", len(bits) > 2 and 0 < bitmap(bits) <= _BITS)
    _require("part", is_whole(bits, blob))
    return key, bits


def parked(rows: Iterable[Any]) -> list[tuple[int, int, int, bool]]:
    """All rows of `parked`."""
    kept = []
    for values in rows:
        _check("parked", values, int, int, int, int)
        row, run, attempts, waits = values
        for number in (row, run, attempts):
            _count(number)
        kept.append((row, run, attempts, bool(waits)))
    return kept


def _check(table: str, row: Any, *kinds: type | tuple[type, ...]) -> None:
    _require(table, isinstance(row, tuple | list) and len(row) == len(kinds))
    _require(table, all(isinstance(value, kind) for value, kind in zip(row, kinds, strict=True)))


def _count(number: int | None) -> int | None:
    if number is not None and not 0 <= number < _MOST:
        raise DamagedError("an invalid number")
    return number


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DamagedError("unreadable JSON") from None


def _require(table: str, condition: bool) -> None:
    if not condition:
        raise DamagedError(f"a row of the table {table}")
