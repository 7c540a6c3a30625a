"""Reading an audience, and its rows as pushes."""

from __future__ import annotations

import errno
import gzip
import importlib
import os
import re
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.shards import Shard
from pushcore.payloads.apns_rows import ApnsRow, ApnsRows, RowDefaults
from pushcore.payloads.payload import ApnsPayload
from pushcore.payloads.rows import Rows

CONSTANT = ApnsPayload({"aps": {"alert": "Hi"}}, "payload.json")
Bad = tuple[int, str, str]


def written(tmp_path: Path, content: str | bytes, name: str = "devices.csv") -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def records(path: str) -> tuple[list[Any], list[Bad]]:
    bad: list[Bad] = []
    with Audience(path) as audience:
        return list(audience.records(lambda *each: bad.append(each))), bad


def pushes(
    path: str, payload: ApnsPayload = CONSTANT, defaults: RowDefaults | None = None
) -> tuple[list[ApnsRow], list[Bad]]:
    """The pushes of a run to APNs alone."""
    bad: list[Bad] = []
    with Audience(path) as audience:
        found = []
        for row in rows_of(audience, payload, defaults, lambda *each: bad.append(each[:3])):
            assert isinstance(row, ApnsRow)
            found.append(row)
        return found, bad


def rows_of(
    audience: Audience,
    payload: ApnsPayload = CONSTANT,
    defaults: RowDefaults | None = None,
    on_bad: Any = lambda *bad: None,
) -> Rows:
    return Rows(audience, ApnsRows(payload, defaults or RowDefaults()), None, on_bad)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_csv(tmp_path: Path, bom: bytes, end: bytes) -> None:
    content = bom + end.join(
        [b"name , token", b'"Ada, ""A""",aa', b"", "Дима\u2028x,bb".encode(), b'"two\nlines",cc']
    )
    found, bad = records(written(tmp_path, content))
    assert found == [(1, ['Ada, "A"', "aa"]), (2, ["Дима\u2028x", "bb"]), (3, ["two\nlines", "cc"])]
    assert bad == []


def test_bad_rows_of_a_csv_do_not_stop_it(tmp_path: Path) -> None:
    content = b'token,name\naa,1\nbb\ncc,2,3\ndd,"x"y\nee,\0\nff,\xff\n,7\ngg,"open\nhh,1\n'
    found, bad = pushes(written(tmp_path, content))
    assert [(row.row, row.token) for row in found] == [(1, "aa"), (6, "ff"), (9, "hh")]
    assert [(number, token) for number, token, _ in bad] == [
        (2, "bb"),
        (3, "cc"),
        (4, ""),
        (5, "ee"),
        (7, ""),
        (8, ""),
    ]
    reasons = [reason for _, _, reason in bad]
    assert reasons[0] == "the row has 1 column, expected 2"
    assert reasons[1] == "the row has 3 columns, expected 2"
    assert reasons[2].startswith("the row is not CSV: ',' expected after '\"'")
    assert reasons[3] == "the row holds a NUL character"
    assert reasons[4] == "the row has no token"
    assert reasons[5] == "the row is not CSV: a quotation mark opens and is not closed"


@pytest.mark.parametrize("rows", [1, 10, 5_000, 20_000])
def test_a_quote_that_does_not_close_costs_one_row(tmp_path: Path, rows: int) -> None:
    rest = [f"{number:04x},x" for number in range(rows)]
    found, bad = records(written(tmp_path, "\n".join(["token,name", 'aa,"two\nlines"', 'bb,"open', *rest])))
    assert found[0] == (1, ["aa", "two\nlines"])
    assert [values for _, values in found[1:]] == [line.split(",") for line in rest]
    assert [number for number, _ in found[1:]] == list(range(3, rows + 3))
    assert bad == [(2, "", "the row is not CSV: a quotation mark opens and is not closed")]


def test_rows_of_many_lines_are_read_whole(tmp_path: Path) -> None:
    long = "line\n" * 3000
    lines = [f'aa,"{long}{number}"' for number in range(20)]
    found, bad = records(written(tmp_path, "\r\n".join(["token,name", *lines])))
    assert [values for _, values in found] == [["aa", f"{long}{number}"] for number in range(20)]
    assert bad == []


@pytest.mark.parametrize("name", ["d.ndjson", "d.jsonl", "d.txt", "d"])
def test_ndjson(tmp_path: Path, name: str) -> None:
    lines = [
        '{"token":"aa","n":1}',
        "",
        '{"token":"bb"',
        "[1]",
        '{"n":1}',
        '{"token":5}',
        '{"token":"\\u0000"}',
        "nul\0",
    ]
    found, bad = pushes(
        written(tmp_path, b"\xef\xbb\xbf" + "\n".join(lines).encode() + b'\n{"token":"\xff"}', name)
    )
    assert [(row.row, row.token) for row in found] == [(1, "aa"), (6, "\0")]
    assert [number for number, _, _ in bad] == [2, 3, 4, 5, 7, 8]
    assert bad[0][2].startswith("the line is not JSON")
    assert [reason for _, _, reason in bad[1:4]] == [
        "the line is not a JSON object",
        "the row has no token",
        "the token is not a text but a number",
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty; expected a header row with a column token"),
        (b"\n\n", "has no header row"),
        (b"Token,name\naa,x\n", "header row; found 'Token, name', expected token; did you mean 'Token'?"),
        (b"token;name\naa;x\n", "separate columns with commas"),
        (b'"token";"name"\n"aa";"x"\n', "separated by semicolons; separate columns with commas"),
        (b"token\tname\naa\tx\n", "separated by tabs"),
        (
            b"sep=;\ntoken;name\n",
            "'sep=;', which only Excel reads; remove it, and separate columns with",
        ),
        (
            b"\xef\xbb\xbfsep=,\r\ntoken,name\r\n",
            "begins with the line 'sep=,', which only Excel reads",
        ),
        (
            b"token,pr\xe9nom\naa,x\n",
            "a header row that is not UTF-8 (Latin-1 or Windows-1252?): convert the file",
        ),
        ("token\naa\n".encode("utf-16-le"), "is in UTF-16; expected UTF-8: convert the file, as by iconv -f"),
        (b"a\x1b[31m\n", r"found 'a\x1b[31m'"),
        (b"token,token\naa,x\n", "has two columns 'token'"),
        (b'"token', "is not CSV"),
        ("token\naa\n".encode("utf-32"), "as by iconv -f UTF-32 -t UTF-8"),
        (
            b"ab" * 32 + b",Ada\n",
            "expected token; the first row seems to be a device already: write a header",
        ),
        ("token\naa\n".encode("utf-16"), "is in UTF-16; expected UTF-8: convert the file, as by iconv -f"),
    ],
)
def test_a_malformed_audience_is_rejected(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(BadInput) as caught:
        pushes(path)
    assert str(caught.value).startswith(path)
    assert complaint in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=re.escape(f"{tmp_path}/no cannot be read (No such file or directory)")
    ):
        Audience(f"{tmp_path}/no")
    with pytest.raises(BadInput, match="cannot be read \\(Is a directory\\)"):
        Audience(str(tmp_path))


def test_options_and_columns(tmp_path: Path) -> None:
    content = (
        "token,topic,push_type,priority,expiration,collapse_id,apns_id\n"
        "aa,,,,,,\n"
        "bb,com.example.two,background,5,0,score,01234567-89ab-4cde-8f01-23456789abcd\n"
        "cc,,,high,,,\n"
    )
    defaults = RowDefaults("voip", 10, 7, "id")
    (one, two), bad = pushes(written(tmp_path, content), defaults=defaults)
    assert (one.topic, one.push_type, one.priority, one.expiration, one.collapse_id) == (
        None,
        "voip",
        10,
        7,
        "id",
    )
    assert one.payload is CONSTANT.template.constant
    assert (two.topic, two.push_type, two.priority, two.expiration) == ("com.example.two", "background", 5, 0)
    assert (two.collapse_id, two.apns_id) == ("score", "01234567-89ab-4cde-8f01-23456789abcd")
    assert bad == [(3, "cc", "priority: 'high' is not a whole number")]


def test_keys_of_ndjson_are_options_too(tmp_path: Path) -> None:
    lines = [
        '{"token":"aa","priority":5,"expiration":"9","topic":"com.example.two","collapse_id":null}',
        '{"token":"bb","priority":5.5}',
        '{"token":"cc","priority":true}',
        '{"token":"dd","topic":["x"]}',
    ]
    (one,), bad = pushes(written(tmp_path, "\n".join(lines), "d.ndjson"))
    assert (one.priority, one.expiration, one.topic, one.collapse_id) == (5, 9, "com.example.two", None)
    assert [number for number, _, _ in bad] == [2, 3, 4]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("token,registered_at\naa,2025-01-01\nbb,\n", "d.csv"),
        ("token,priority,registered_at\naa,5,2025-01-01\nbb,,\n", "d.csv"),
        ('{"token":"aa","registered_at":"2025-01-01"}\n{"token":"bb"}', "d.ndjson"),
    ],
)
def test_when_a_device_was_registered(tmp_path: Path, content: str, name: str) -> None:
    (one, two), _ = pushes(written(tmp_path, content, name))
    assert one.registered_at == "2025-01-01"
    assert not two.registered_at


def test_every_row_has_an_id_of_its_own(tmp_path: Path) -> None:
    rows, _ = pushes(written(tmp_path, "token\n" + "aa\n" * 300))
    ids = {str(row.apns_id) for row in rows}
    assert len(ids) == 300
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}", each) for each in ids
    )
    again, _ = pushes(written(tmp_path, "token\naa\n"))
    assert again[0].apns_id not in ids


def test_the_beginning_of_the_ids_can_be_given(tmp_path: Path) -> None:
    rows = ApnsRows(CONSTANT, RowDefaults(), "01234567-89ab-8cde-8f01-")
    with Audience(written(tmp_path, "token\naa\nbb\n")) as audience:
        found = list(Rows(audience, rows, None, lambda *bad: None))
    assert [str(getattr(row, "apns_id", "")) for row in found] == [
        "01234567-89ab-8cde-8f01-000000000001",
        "01234567-89ab-8cde-8f01-000000000002",
    ]


def test_an_unknown_column_is_found_before_anything_is_read(tmp_path: Path) -> None:
    payload = ApnsPayload({"a": "{{nmae}}"}, "payload.json")
    with pytest.raises(BadInput) as caught:
        pushes(written(tmp_path, "token,name\naa,x\n"), payload)
    assert "the placeholder '{{nmae}}' in a names no column of" in str(caught.value)
    assert "expected one of 'token, name'" in str(caught.value)


def test_a_missing_key_makes_that_row_bad(tmp_path: Path) -> None:
    payload = ApnsPayload({"a": "{{name}}"}, "payload.json")
    found, bad = pushes(written(tmp_path, '{"token":"aa"}\n{"token":"bb","name":"x"}\n', "d.ndjson"), payload)
    assert [row.row for row in found] == [2]
    assert bad == [(1, "aa", "there is no key 'name' (a of payload.json)")]


def test_it_ends_when_it_is_stopped(tmp_path: Path) -> None:
    with Audience(written(tmp_path, "token\n" + "aa\n" * 10)) as audience:
        rows = rows_of(audience)
        taken = []
        for row in rows:
            taken.append(row.row)
            if row.row == 3:
                rows.stop()
        assert taken == [1, 2, 3]
        assert rows.taken == 3


@pytest.mark.slow
def test_memory_does_not_grow_with_the_audience(tmp_path: Path) -> None:
    path = written(tmp_path, "token,name\n" + f"{'a' * 64},x\n" * 50_000)
    tracemalloc.start()
    try:
        with Audience(path) as audience:
            for _ in rows_of(audience):
                pass
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 < os.path.getsize(path)
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "quoted late", "empty lines", "returns", "ndjson", "parquet"])
def test_the_parts_of_an_audience_are_all_of_it(tmp_path: Path, form: str) -> None:
    count, chunk = 25_000, 700
    tokens = [f"{number:064x}" for number in range(count)]
    if form == "quoted late":
        tokens[20_000] = 'a quote\nin "it'
    path = tmp_path / ("devices.ndjson" if form == "ndjson" else "devices")
    if form == "parquet":
        arrow = pytest.importorskip("pyarrow")
        importlib.import_module("pyarrow.parquet").write_table(arrow.table({"token": tokens}), path)
    elif form == "ndjson":
        path.write_text(
            "".join(f'{{"token":"{each}"}}\n{chr(10) * (number % 3)}' for number, each in enumerate(tokens))
        )
    else:
        end = "\r\n" if form == "returns" else "\n"
        quoted = ['"' + each.replace('"', '""') + '"' if '"' in each else each for each in tokens]
        if form == "empty lines":
            quoted = [f"{each}\n" if number % 9_999 == 0 else each for number, each in enumerate(quoted)]
        path.write_text(end.join(["token", *quoted]), newline="")
    found: dict[int, str] = {}
    for number in range(3):
        shard, own = Shard(number, 3, chunk), 0
        with Audience(str(path)) as audience:
            for row, values in audience.records(lambda *bad: pytest.fail(str(bad)), shard):
                assert shard.own(row)
                own += 1
                assert row not in found
                found[row] = values["token"] if form == "ndjson" else values[0]
        assert own == shard.upto(count)
    assert [found[row] for row in range(1, count + 1)] == tokens


# --- changed while it is read -----------------------------------------------------------------------------------------

ROWS = 40_000
FORMS = {
    "devices.csv": b"token\n" + b"".join(b"%064x\n" % row for row in range(ROWS)),
    "devices.ndjson": b"".join(b'{"token":"%064x"}\n' % row for row in range(ROWS)),
}


class Reading:
    """Reads an audience row by row. `change`: called after the first one. `rows`, `bad`: what has been read so far."""

    def __init__(self, path: Path, change: Any = lambda path: None) -> None:
        self.path, self.change = path, change
        self.rows: list[int] = []
        self.bad: list[Any] = []

    def run(self, shard: Shard = Shard(), patch: Any = lambda audience: None) -> None:  # noqa: B008
        with Audience(str(self.path)) as audience:
            patch(audience)
            for number, _ in audience.records(lambda *each: self.bad.append(each), shard):
                if not self.rows:
                    self.change(self.path)
                self.rows.append(number)


def piped(place: Path, data: bytes) -> Path:
    """A named pipe with a writer that ends after `data`."""
    path = place / "pipe"
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()
    return path


def truncate(path: Path) -> None:
    """Within a row."""
    os.truncate(path, path.stat().st_size - 1_000_010)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(2_000_000)
        file.write(b"0")
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [truncate, append, overwrite])
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("shard", [Shard(), Shard(1, 2)])
def test_one_that_changes_while_it_is_read_has_no_end(
    tmp_path: Path, name: str, change: Any, shard: Shard
) -> None:
    """And no row is taken that was cut."""
    reading = Reading(Path(written(tmp_path, FORMS[name], name)), change)
    with pytest.raises(OSError, match="changed while it was read") as raised:
        reading.run(shard)
    assert raised.value.filename == str(reading.path)
    assert reading.rows
    assert len(reading.bad) <= (change is overwrite)


def test_a_file_that_ends_before_its_size_has_no_end(tmp_path: Path) -> None:
    """As a share may have it, whose attributes are kept for a while."""

    def stale(audience: Audience) -> None:
        audience._look = lambda: audience.state

    reading = Reading(Path(written(tmp_path, FORMS["devices.csv"])), truncate)
    with pytest.raises(OSError, match=r"it ends after [0-9]+ of [0-9]+ bytes"):
        reading.run(patch=stale)


def test_a_file_that_is_gone_from_its_share_is_named(tmp_path: Path) -> None:
    def stale(audience: Audience) -> None:
        def look() -> None:
            raise OSError(errno.ESTALE, "Stale file handle")

        audience._look = look

    reading = Reading(Path(written(tmp_path, b"token\n00\n")))
    with pytest.raises(OSError, match="Stale file handle") as raised:
        reading.run(patch=stale)
    assert raised.value.filename == str(reading.path)


def test_one_that_was_replaced_is_read_to_its_end(tmp_path: Path) -> None:
    """What was opened is what is read."""
    reading = Reading(
        Path(written(tmp_path, FORMS["devices.csv"])),
        lambda path: os.replace(written(tmp_path, "token\n00\n", "other"), path),
    )
    reading.run()
    assert reading.rows == list(range(1, ROWS + 1))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_last_row_of_a_file_needs_no_newline(tmp_path: Path, end: str) -> None:
    assert len(records(written(tmp_path, f"token\n00\n11{end}"))[0]) == 2


@pytest.mark.parametrize("text", ["token\n00\n11", "token,name\n00,A\n11", 'token,name\n00,A\n11,"B'])
def test_the_last_row_of_csv_in_a_pipe_must_have_a_newline(tmp_path: Path, text: str) -> None:
    """Its writer may have died in the middle of it."""
    reading = Reading(piped(tmp_path, text.encode()))
    with pytest.raises(OSError, match="it ends within a row"):
        reading.run()
    assert (reading.rows, reading.bad) == ([1], [])


QUOTE = "a quotation mark opens and is not closed"
OBJECT = "its JSON object does not end"


@pytest.mark.parametrize("way", ["file", "gzip", "pipe", "gzip in a pipe"])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'token,name\n00,A\n11,"B\n', QUOTE),
        (b'token,name\n00,A\n11,"B\nmore of the text\n\nand the end\n', QUOTE),
        (b'"token","name"\r\n"00","A"\r\n"11\r\n', QUOTE),
        (b'{"token":"00"}\n{"token":"11"', OBJECT),
        (b'{"token":"00"}\n{"tok', OBJECT),
        (b'{"token":"00"}\n{', OBJECT),
        (b'{"token":"00"}\n{"token":"11","n":{"m":1}', OBJECT),
        (b'{"token":"00"}\n{"token":"11","n":"\xc3', OBJECT),
        (b'{"token":"00"}\n{"token":"11","n":"\xc3\xa9\\u00', OBJECT),
    ],
)
def test_an_audience_that_ends_within_a_row_was_truncated(
    tmp_path: Path, text: bytes, problem: str, way: str
) -> None:
    """Perhaps before it was opened: its writer died, or a copy of it was ended."""
    data = gzip.compress(text) if "gzip" in way else text
    path = piped(tmp_path, data) if "pipe" in way else Path(written(tmp_path, data, "devices"))
    reading = Reading(path)
    with pytest.raises(
        OSError, match=f"^.Errno 5. it seems to be truncated within row 2: {problem}: '"
    ) as raised:
        reading.run()
    assert raised.value.filename == str(path)
    assert (reading.rows, reading.bad) == ([1], [])


@pytest.mark.parametrize("text", [b'token,name\n00,A\n11,"B\n', b'{"token":"00"}\n{"token":"11"'])
def test_an_audience_that_ends_within_a_row_has_no_spans(tmp_path: Path, text: bytes) -> None:
    with (
        Audience(written(tmp_path, text, "devices")) as audience,
        pytest.raises(OSError, match="it seems to be truncated within row 2: "),
    ):
        list(audience.spans(2))


@pytest.mark.parametrize(
    "end",
    [b'{"token":"11",}', b'{"token" "11"}', b'{"token":"\xff"}', b'"text', b'["x"', b'{"token":"11"}}', b"x"],
)
def test_a_last_line_that_is_no_beginning_of_an_object_is_a_bad_row(tmp_path: Path, end: bytes) -> None:
    found, bad = records(written(tmp_path, b'{"token":"00"}\n' + end, "devices.ndjson"))
    assert [number for number, _ in found] == [1]
    assert [number for number, _, _ in bad] == [2]


@pytest.mark.parametrize(
    "text", ["token\n00\n11\n", '{"token":"00"}\n{"token":"11"}', '{"token":"00"}\r\n{"token":"11"}\r\n']
)
def test_a_pipe_that_is_whole_is_read_to_its_end(tmp_path: Path, text: str) -> None:
    reading = Reading(piped(tmp_path, text.encode()))
    reading.run()
    assert reading.rows == [1, 2]


def test_parquet_that_changes_while_it_is_read_has_no_end(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = importlib.import_module("pyarrow.parquet")
    path = tmp_path / "d.parquet"
    parquet.write_table(arrow.table({"token": [f"{row:064x}" for row in range(100)]}), path)
    reading = Reading(path, lambda path: os.utime(path, ns=(0, 0)))
    with pytest.raises(OSError, match="changed while it was read"):
        reading.run()


def test_names_of_columns_are_without_what_is_not_seen(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("\ufeff\ufefftoken, \u200bname \r\naa,b\r\n".encode())
    with Audience(str(tmp_path / "d.csv")) as audience:
        assert audience.columns == ["token", "name"]
