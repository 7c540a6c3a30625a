"""Files and objects as `StoredFile`: ranges, places, fingerprints, and errors that tell no secret. The objects are fsspec's own,
in memory."""

from __future__ import annotations

import errno
import importlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.audience.storage import ENDS, StoredFile, is_url, open_object, read_range, shown_path

DATA = bytes(range(256)) * 1200
URL = "memory://bucket/devices.csv"


@pytest.fixture
def store() -> Iterator[Any]:
    """fsspec's file system in memory, with `DATA` at `URL`."""
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem()
    memory.pipe_file("/bucket/devices.csv", DATA)
    yield memory
    memory.store.clear()


@pytest.fixture(params=["path", "URL"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where `DATA` is."""
    if request.param == "URL":
        request.getfixturevalue("store")
        return URL
    (tmp_path / "devices.csv").write_bytes(DATA)
    return str(tmp_path / "devices.csv")


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 10), (300, 900), (len(DATA) - 5, len(DATA))])
def test_a_range_has_exactly_its_bytes(place: str, start: int, end: int) -> None:
    assert read_range(place, start, end) == DATA[start:end]
    assert StoredFile(place).range(start, end) == DATA[start:end]


def test_a_range_ends_with_the_file(place: str) -> None:
    stored = StoredFile(place)
    assert stored.size == len(DATA)
    assert stored.range(len(DATA) - 5, len(DATA) + 100) == DATA[-5:]
    assert stored.range(len(DATA), len(DATA) + 100) == b""
    assert stored.range(9, 9) == b""


def test_nothing_beyond_the_end_of_an_object_is_asked_for(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server answers that with an error."""
    asked: list[tuple[int, int]] = []
    cat_file = type(store).cat_file

    def watch(self: Any, path: str, start: int, end: int) -> bytes:
        asked.append((start, end))
        return bytes(cat_file(self, path, start=start, end=end))

    monkeypatch.setattr(type(store), "cat_file", watch)
    StoredFile(URL).range(len(DATA) - 5, len(DATA) + 100)
    StoredFile(URL).range(len(DATA) + 1, len(DATA) + 100)
    assert asked == [(len(DATA) - 5, len(DATA))]


def test_it_can_be_read_from_anywhere_as_a_file(place: str) -> None:
    stored = StoredFile(place)
    assert stored.readable()
    assert stored.seekable()
    assert stored.seek(-4, os.SEEK_END) == len(DATA) - 4
    assert stored.read(100) == DATA[-4:]
    assert stored.read(1) == b""
    assert stored.seek(1000) == 1000
    assert stored.read(3) == DATA[1000:1003]
    assert stored.seek(-2, os.SEEK_CUR) == stored.tell() == 1001
    assert stored.seek(-5) == 0


def test_a_fingerprint_sees_the_size_and_both_ends(tmp_path: Path) -> None:
    def of(data: bytes, end: int = ENDS) -> str:
        path = tmp_path / "a"
        path.write_bytes(data)
        return StoredFile(str(path)).fingerprint(end)

    first = of(DATA)
    assert first == of(DATA)
    assert first.startswith(f"{len(DATA)}-")
    assert of(DATA + b"x") != first
    assert of(b"x" + DATA[1:]) != first
    assert of(DATA[:-1] + b"x") != first
    middle = DATA[:150_000] + b"x" + DATA[150_001:]
    assert of(middle) == first
    assert of(middle, end=200_000) != of(DATA, end=200_000)
    assert of(b"short") == StoredFile(str(tmp_path / "a")).fingerprint()


def test_a_file_and_an_object_of_the_same_bytes_have_the_same_fingerprint(tmp_path: Path, store: Any) -> None:
    (tmp_path / "a").write_bytes(DATA)
    assert StoredFile(str(tmp_path / "a")).fingerprint() == StoredFile(URL).fingerprint()


@pytest.mark.parametrize("url", ["s3://:secret@[x/a.csv", "http://["])
def test_a_url_that_cannot_be_is_named_as_such_and_not_repeated(url: str) -> None:
    with pytest.raises((BadInput, OSError), match="://…") as raised:
        StoredFile(url)
    assert "secret" not in str(raised.value)


def test_an_object_is_read_from_beginning_to_end(store: Any) -> None:
    file, size, state = open_object(URL)
    with file:
        assert (file.read(), size) == (DATA, len(DATA))
        before = state()
        assert state() == before
        store.pipe(URL, DATA + b"x")
        assert state() != before


def test_an_object_that_was_replaced_has_another_version(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    info: dict[str, Any] = {"size": 3, "ETag": '"a"', "created": "then"}
    monkeypatch.setattr(type(store), "info", lambda *_, **__: info)
    assert (StoredFile(URL).size, StoredFile(URL).version) == (3, '"a"')
    info = {"size": None, "LastModified": 17}
    assert (StoredFile(URL).size, StoredFile(URL).version) == (0, "17")
    info = {"size": 1}
    assert StoredFile(URL).version == ""


def test_a_server_that_ignores_the_range_is_an_error(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(store), "cat_file", lambda *_, **__: DATA)
    with pytest.raises(OSError, match="it cannot be read in parts"):
        read_range(URL, 0, 10)


def test_no_such_object_and_no_such_file(tmp_path: Path, store: Any) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such object"):
        StoredFile("memory://bucket/none")
    with pytest.raises(FileNotFoundError):
        StoredFile(str(tmp_path / "none"))


def test_a_drivers_own_words_stay_untold(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> bytes:
        raise RuntimeError("https://signed.example/?X-Amz-Signature=secret")

    monkeypatch.setattr(type(store), "cat_file", fail)
    with pytest.raises(OSError) as caught:
        read_range("memory://user:secret@bucket/devices.csv", 0, 10)
    assert caught.value.errno == errno.EIO
    assert str(caught.value) == "[Errno 5] RuntimeError: 'memory://bucket/devices.csv'"


def test_without_fsspec_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BadInput, match=r'is a URL, which needs pip install "pushcore\[storage\]"'):
        StoredFile("s3://bucket/a.csv")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("s3://bucket/a.csv", True),
        ("HTTPS://host/a", True),
        ("abfs+x.y-z://c/a", True),
        ("devices.csv", False),
        ("./s3://a", False),
        ("1s3://a", False),
        ("C:/devices.csv", False),
        ("://a", False),
    ],
)
def test_urls_are_told_from_paths(path: str, url: bool) -> None:
    assert is_url(path) is url


def test_a_path_is_shown_as_it_is_and_a_url_without_secrets() -> None:
    assert shown_path("/a?b@c\n") == r"/a?b@c\n"
    assert shown_path("https://u:p@host:9/d.csv?sig=1#f") == "https://host:9/d.csv"


def test_a_stored_file_serves_as_the_raw_part_of_a_buffer(place: str) -> None:
    with io.BufferedReader(StoredFile(place), 1000) as file:
        file.seek(10)
        assert file.peek(4)[:4] == DATA[10:14]
        assert file.read() == DATA[10:]
