"""Audiences in Parquet."""

from __future__ import annotations

import datetime
import decimal
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput, explain
from pushcore.payloads.apns_rows import ApnsRow, ApnsRows, RowDefaults
from pushcore.payloads.payload import ApnsPayload
from pushcore.payloads.rows import Bad, Rows

pa = pytest.importorskip("pyarrow")
pq = importlib.import_module("pyarrow.parquet")

TIME = datetime.datetime(2025, 11, 5, 8, 30, 0, 250_000, tzinfo=datetime.UTC)


def written(tmp_path: Path, columns: dict[str, Any], **options: Any) -> str:
    path = str(tmp_path / "devices.parquet")
    pq.write_table(pa.table(columns), path, **options)
    return path


def pushes(path: str, payload: dict[str, Any]) -> tuple[list[ApnsRow], list[Bad]]:
    bad: list[Bad] = []
    with Audience(path) as audience:
        rows = Rows(
            audience,
            ApnsRows(ApnsPayload(payload, "payload.json"), RowDefaults()),
            None,
            lambda *each: bad.append(each),
        )
        found = []
        for row in rows:
            assert isinstance(row, ApnsRow)
            found.append(row)
        return found, bad


def test_values_keep_their_types(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "unused": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "n": [3],
            "f": [1.5],
            "yes": [True],
            "t": pa.array([TIME], pa.timestamp("ns", "UTC")),
            "local": pa.array([TIME.replace(tzinfo=None)], pa.timestamp("ms")),
            "d": [TIME.date()],
            "m": [decimal.Decimal("1.10")],
            "raw": [b"bytes"],
            "kind": pa.array(["ios"]).dictionary_encode(),
            "list": [[1, None, 2]],
            "none": pa.array([None], pa.string()),
            "token": ["ab" * 32],
        },
    )
    names = ("n", "f", "yes", "t", "local", "d", "m", "raw", "kind", "list", "none")
    found, bad = pushes(
        path, {"aps": {"alert": "{{t}} {{n}}"}, **{name: "{{" + name + "}}" for name in names}}
    )
    assert bad == []
    assert isinstance(found[0].payload, bytes)
    assert importlib.import_module("orjson").loads(found[0].payload) == {
        "aps": {"alert": "2025-11-05T08:30:00.250000+00:00 3"},
        "n": 3,
        "f": 1.5,
        "yes": True,
        "t": "2025-11-05T08:30:00.250000+00:00",
        "local": "2025-11-05T08:30:00.250000",
        "d": "2025-11-05",
        "m": "1.10",
        "raw": "bytes",
        "kind": "ios",
        "list": [1, None, 2],
        "none": None,
    }


def test_a_row_may_have_its_own_settings(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {
            "expiration": [0, None, 7],
            "token": pa.array(
                [{"type": "ios", "data": "ab" * 32}, {"type": "ios", "data": "cd" * 32}, {"type": "x"}]
            ),
            "priority": ["5", "", None],
            "topic": [None, "com.example.two", None],
            "registered_at": pa.array([TIME, None, None], pa.timestamp("us", "UTC")),
        },
    )
    (one, two), bad = pushes(path, {"aps": {}})
    assert (one.row, one.token, one.expiration, one.priority, one.topic) == (1, "ab" * 32, 0, 5, None)
    assert (two.row, two.token, two.expiration, two.topic) == (2, "cd" * 32, None, "com.example.two")
    assert (one.registered_at, two.registered_at) == ("2025-11-05T08:30:00.250000+00:00", None)
    assert [(each[0], each[1]) for each in bad] == [(3, "")]


def test_tokens_that_are_none(tmp_path: Path) -> None:
    found, bad = pushes(written(tmp_path, {"token": pa.array([None, "ab" * 32, ""])}), {"aps": {}})
    assert [row.row for row in found] == [2]
    assert [(number, reason) for number, _, reason, *_ in bad] == [
        (1, "the row has no token"),
        (3, "the row has no token"),
    ]


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"device": ["aa"]}, "has no column token; found 'device', expected token"),
        ({"token": pa.array([[("a", "b")]], pa.map_(pa.string(), pa.string()))}, "is of type 'map<string"),
        ({"token": ["aa"], "topic": [datetime.timedelta(1)]}, "the column 'topic' is of type 'duration[us]'"),
    ],
)
def test_columns_that_cannot_be_used(tmp_path: Path, columns: dict[str, Any], complaint: str) -> None:
    path = written(tmp_path, columns)
    with pytest.raises(BadInput) as caught:
        pushes(path, {"aps": {}})
    assert str(caught.value).startswith(path)
    assert complaint in str(caught.value)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["token", "token"])
    pq.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(BadInput, match="has two columns 'token'; expected one"):
        pushes(str(tmp_path / "d.parquet"), {"aps": {}})


def test_files_that_are_damaged(tmp_path: Path) -> None:
    path = Path(written(tmp_path, {"token": ["ab" * 32] * 1000}, compression="none", use_dictionary=False))
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(BadInput, match="cannot be read as Parquet"):
        Audience(str(path))
    path.write_bytes(whole[:8] + b"\xff" * 2000 + whole[2008:])
    with Audience(str(path)) as audience, pytest.raises(OSError) as caught:
        list(audience.records(lambda *bad: None))
    assert explain(caught.value).startswith("its Parquet is damaged (")
    assert caught.value.filename == str(path)


@pytest.mark.slow
def test_it_cannot_come_through_a_pipe(tmp_path: Path) -> None:
    data = Path(written(tmp_path, {"token": ["ab" * 32]})).read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "pushcore", "tokens", "-"], input=data, capture_output=True, timeout=30
    )
    assert done.returncode == 2
    assert b"the standard input is Parquet, whose end is read first; expected the path" in done.stderr


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"token": ["ab" * 32]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BadInput, match=r'is Parquet, which needs pip install "pushcore\[parquet\]"'):
        Audience(path)


def test_progress(tmp_path: Path) -> None:
    path = written(tmp_path, {"token": ["ab" * 32] * 25_000})
    with Audience(path) as audience:
        assert audience.size is not None
        assert audience.position == 0
        rows = audience.records(lambda *bad: None)
        next(rows)
        assert 0 < audience.position < audience.size
        assert sum(1 for _ in rows) == 24_999
        assert audience.position == audience.size


@pytest.mark.slow
def test_memory_does_not_grow_with_the_audience(tmp_path: Path) -> None:
    path = str(tmp_path / "devices.parquet")
    schema = pa.schema([("token", pa.string()), ("name", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for part in range(20):
            tokens = [f"{part * 20_000 + number:064x}" for number in range(20_000)]
            writer.write_table(pa.table({"token": tokens, "name": ["Ada"] * 20_000}, schema))
    most = []
    with Audience(path) as audience:
        for number, _ in audience.records(lambda *bad: None):
            if number % 10_000 == 1:
                most.append(pa.total_allocated_bytes())
    assert number == 400_000
    assert max(most[len(most) // 2 :]) < 1.5 * max(most[: len(most) // 2]) < 12_000_000
