"""Outcomes as CSV, NDJSON and Parquet say the same, in batches of any size and kind."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from pushcore.audience.problems import BadInput
from pushcore.cli.report.outcomes import BATCH, FORMATS, batched, outcomes_of, write
from pushcore.cli.report.results_file import COLUMNS
from pushcore.cli.report.tally import REGISTERED_SINCE
from pushcore.journal.format import UniformOutcomes, singly
from pushcore.journal.journal import Journal, JournalView, Outcome, Source
from pushcore.journal.outcome import PLAIN
from pushcore.results import Verdict

ODD = [
    Outcome(1, "aa", "apns", Verdict.ACCEPTED, 200, None, "id-1", None, 1),
    Outcome(2, 'b,"\udcff', "", Verdict.INVALID, None, "the row is, odd", None, None, 0),
    Outcome(3, "cc", "apns", Verdict.UNREGISTERED, 410, "Unregistered", "id-3", 1_700_000_000.25, 2),
    Outcome(4, "dd", "apns", Verdict.UNREGISTERED, 410, REGISTERED_SINCE, None, 1_700_000_000.0, 1),
    Outcome(5, "f:APA91b", "fcm", Verdict.UNKNOWN, None, None, None, None, 3),
]
Batches = list[UniformOutcomes | list[Outcome]]


def written(batches: Batches, form: str) -> bytes:
    file = io.BytesIO()
    count = write(batches, file, form)
    assert count == sum(
        len(each.entries) if isinstance(each, UniformOutcomes) else len(each) for each in batches
    )
    return file.getvalue()


def rows_of(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8", "surrogateescape"))))


def rows_in(batches: Iterable[UniformOutcomes | list[Outcome]]) -> list[int]:
    return [outcome.row for batch in batches for outcome in singly(batch)]


def test_csv_has_every_column_and_keeps_odd_bytes() -> None:
    data = written([ODD[:2], ODD[2:]], "csv")
    assert data.splitlines()[0].decode() == ",".join(COLUMNS)
    assert [tuple(row.values()) for row in rows_of(data)] == [
        ("1", "aa", "apns", "ACCEPTED", "200", "", "id-1", "", "1", "", ""),
        ("2", 'b,"\udcff', "", "INVALID", "", "the row is, odd", "", "", "0", "", ""),
        (
            "3",
            "cc",
            "apns",
            "UNREGISTERED",
            "410",
            "Unregistered",
            "id-3",
            "2023-11-14T22:13:20.250Z",
            "2",
            "yes",
            "",
        ),
        (
            "4",
            "dd",
            "apns",
            "UNREGISTERED",
            "410",
            REGISTERED_SINCE,
            "",
            "2023-11-14T22:13:20.000Z",
            "1",
            "",
            "",
        ),
        ("5", "f:APA91b", "fcm", "UNKNOWN", "", "", "", "", "3", "", ""),
    ]


def test_an_environment_that_was_found_is_no_reason() -> None:
    found = Outcome(1, "aa", "apns", Verdict.ACCEPTED, 200, "sandbox", "id-1", None, 2)
    (row,) = rows_of(written([[found]], "csv"))
    assert (row["reason"], row["environment"], row["attempts"]) == ("", "sandbox", "2")
    line = orjson.loads(written([[found]], "ndjson"))
    assert (line["reason"], line["environment"]) == (None, "sandbox")


def test_ndjson_has_numbers_and_nulls() -> None:
    lines = [orjson.loads(line) for line in written([ODD], "ndjson").splitlines()]
    assert [list(line) for line in lines] == [list(COLUMNS)] * 5
    assert lines[0] == dict(
        zip(COLUMNS, (1, "aa", "apns", "ACCEPTED", 200, None, "id-1", None, 1, False, None), strict=True)
    )
    assert lines[1]["token"] == 'b,"?'  # JSON can hold no half surrogate pair
    assert [line["drop_token"] for line in lines] == [False, False, True, False, False]
    assert lines[2]["timestamp"] == "2023-11-14T22:13:20.250Z"


def test_parquet_has_types_and_nulls() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(written([ODD[:3], [], ODD[3:]], "parquet")))
    assert table.column_names == list(COLUMNS)
    assert str(table.schema.field("timestamp").type) == "timestamp[ms, tz=UTC]"
    found = table.to_pylist()
    assert [row["row"] for row in found] == [1, 2, 3, 4, 5]
    assert [row["drop_token"] for row in found] == [False, False, True, False, False]
    assert (found[1]["status"], found[1]["token"], found[4]["reason"]) == (None, 'b,"?', None)
    assert found[2]["timestamp"].isoformat() == "2023-11-14T22:13:20.250000+00:00"


@pytest.mark.parametrize("platform", [0, 1])
def test_outcomes_that_are_alike_are_written_as_each_by_itself(platform: int) -> None:
    alike = UniformOutcomes(
        PLAIN[platform], [(row, f"{row:04x}", f"id-{row}" if row % 2 else None) for row in range(1, 9)]
    )
    for form in ("csv", "ndjson"):
        assert written([alike], form) == written([alike.outcomes()], form)


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 7])
def test_no_row_is_lost_where_a_batch_is_divided(count: int) -> None:
    alike = UniformOutcomes(PLAIN[0], [(row, "aa", None) for row in range(1, count + 1)])
    for batches in ([alike], [alike.outcomes()], [*batched(alike.outcomes())]):
        assert [int(row["row"]) for row in rows_of(written(cast(Batches, batches), "csv"))] == [
            *range(1, count + 1)
        ]


def test_batches_of_single_outcomes_are_of_a_bounded_size() -> None:
    assert [len(batch) for batch in batched([ODD[0]] * (2 * BATCH + 1))] == [BATCH, BATCH, 1]
    assert list(batched([])) == []


def test_nothing_is_a_header_or_nothing() -> None:
    assert written([], "csv").decode() == ",".join(COLUMNS) + "\n"
    assert written([], "ndjson") == b""


def test_without_pyarrow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadInput, match=r'--format parquet needs pip install "pushcore\[parquet\]"'):
        written([ODD], "parquet")
    assert FORMATS == ("csv", "ndjson", "parquet")


def test_journals_of_one_campaign_are_merged_in_the_order_of_rows(tmp_path: Path) -> None:
    for shard in range(2):
        with Journal.create(
            tmp_path / f"{shard}.db", Source("a"), chunk_size=2, campaign_id="c", shard=shard, shards=2
        ) as journal:
            for row in range(1, 8):
                verdict = Verdict.INVALID if row % 3 else Verdict.UNSENT
                journal.note(row, f"t{row}", "apns", "odd", verdict)
    with contextlib.ExitStack() as stack:
        views = [stack.enter_context(JournalView(tmp_path / f"{shard}.db")) for shard in range(2)]
        assert rows_in(outcomes_of(views)) == [1, 2, 3, 4, 5, 6, 7]
        assert rows_in(outcomes_of(views, Verdict.UNSENT)) == [3, 6]
        assert rows_in(outcomes_of(views[1:])) == [3, 4, 7]
