"""Audiences on object storage: S3 as moto has it, by s3fs, and an nginx that knows ranges, by aiohttp; neither is ours."""

from __future__ import annotations

import gc
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadInput
from pushcore.audience.storage import AHEAD
from pushcore.queue.chunk import Chunk
from pushcore.queue.errors import CampaignConflict, ChunkError, SourceUnavailable
from pushcore.queue.references import ReferenceReader, described, reference_chunks
from tests.support import objects
from tests.support.redis import free_port

COUNT, CHUNK = 2000, 150
FORMS = ("csv", "ndjson", "parquet")


@pytest.fixture(scope="module")
def s3() -> Iterator[objects.S3]:
    if objects.NO_S3:
        pytest.skip(objects.NO_S3)
    server = objects.S3()
    yield server
    server.stop()


@pytest.fixture
def variables(s3: objects.S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    yield
    # A client of s3fs that is collected later begins a task in whichever loop is running then.
    importlib.import_module("s3fs").S3FileSystem.clear_instance_cache()
    gc.collect()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[objects.Nginx]:
    pytest.importorskip("aiohttp", reason="aiohttp is missing, by which fsspec speaks HTTP")
    server = objects.Nginx(tmp_path)
    yield server
    server.stop()


def written(form: str, place: Path, badge: int = 0) -> bytes:
    rows = [(f"{row:064x}", f'Na"me, {row}', badge + row) for row in range(COUNT)]
    if form == "csv":
        quoted = "".join(f'{token},"{name.replace(chr(34), chr(34) * 2)}",{n}\n' for token, name, n in rows)
        return f"token,name,badge\n{quoted}".encode()
    if form == "ndjson":
        import orjson

        return b"\n".join(orjson.dumps({"token": token, "name": name, "badge": n}) for token, name, n in rows)
    if importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is missing: the extra pushcore[parquet]")
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    columns = dict(zip(("token", "name", "badge"), map(list, zip(*rows, strict=True)), strict=True))
    parquet.write_table(arrow.table(columns), place / "made.parquet", row_group_size=400)
    return (place / "made.parquet").read_bytes()


def no_bad(row: int, token: str, reason: str) -> None:
    pytest.fail(reason)


async def rows_of(shelf: ReferenceReader, chunk: Chunk, about: Any) -> list[tuple[int, Any]]:
    source = shelf.source(chunk, about)
    await shelf.load(source)
    return list(source.records(no_bad))


def values(form: str, row: Any) -> tuple[str, str, int]:
    fields = tuple(row.values()) if form == "ndjson" else tuple(row)
    return fields[0], fields[1], int(fields[2])


async def read_all(url: str, form: str) -> list[Chunk]:
    """Read by chunks, and the last chunk first; everything must be there and in its place."""
    with Audience(url) as source:
        assert source.form == form
        chunks, about = list(reference_chunks(source, url, CHUNK)), described(source)
    assert len(chunks) == -(-COUNT // CHUNK)
    shelf, rows = ReferenceReader(), dict[int, Any]()
    for chunk in [chunks[-1], *chunks]:
        assert len(chunk.encode()) < 300
        rows.update(await rows_of(shelf, chunk, about))
    shelf.close()
    assert [(row, values(form, rows[row])) for row in sorted(rows)] == [
        (row + 1, (f"{row:064x}", f'Na"me, {row}', row)) for row in range(COUNT)
    ]
    return chunks


@pytest.mark.usefixtures("variables")
@pytest.mark.parametrize("form", FORMS)
async def test_s3(form: str, s3: objects.S3, tmp_path: Path) -> None:
    url = s3.put(f"devices.{form}", written(form, tmp_path))
    chunks = await read_all(url, form)
    with Audience(url) as source:
        about = described(source)
    shelf = ReferenceReader()
    await rows_of(shelf, chunks[0], about)
    s3.put(f"devices.{form}", written(form, tmp_path, badge=1))
    with pytest.raises(ChunkError, match=rf"s3://audiences/devices.{form} has changed"):
        await rows_of(shelf, chunks[0], about)
    s3.delete(f"devices.{form}")
    with pytest.raises(SourceUnavailable, match=r"cannot be read \(there is no such object\)"):
        await rows_of(shelf, chunks[1], about)
    shelf.close()
    with pytest.raises(BadInput, match="there is no such object"):
        Audience(url)


@pytest.mark.usefixtures("variables")
def test_s3_that_does_not_answer_tells_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(BadInput, match=r"s3://audiences/devices.csv cannot be read") as caught:
        Audience("s3://audiences/devices.csv")
    assert "s3cret-word" not in str(caught.value)


@pytest.mark.needs("nginx")
@pytest.mark.parametrize("form", FORMS)
async def test_only_ranges_are_asked_for(form: str, nginx: objects.Nginx, tmp_path: Path) -> None:
    data = written(form, tmp_path)
    (nginx.files / f"devices.{form}").write_bytes(data)
    url = f"{nginx.url}/devices.{form}"
    chunks = await read_all(url, form)
    gets = [(status, size) for method, status, size in nginx.asked() if method == "GET"]
    assert {status for status, _ in gets} == {206}
    if form != "parquet":  # whose pages are not cut where rows end
        sizes = sorted(size for _, size in gets)
        spans = sorted(chunk.reference.end - chunk.reference.start for chunk in chunks if chunk.reference)
        assert sizes[-1] == len(data)  # once, to see where the rows are
        assert sizes.count(spans[0]) == 2  # the last chunk, read twice
        assert sum(sizes) < len(data) * 2.3


@pytest.mark.needs("nginx")
async def test_a_large_object_is_read_in_parts(nginx: objects.Nginx) -> None:
    line = b'{"token":"' + b"a" * 1000 + b'"}\n'
    count = AHEAD * 5 // 2 // len(line)
    (nginx.files / "large.ndjson").write_bytes(line * count)
    with Audience(f"{nginx.url}/large.ndjson") as source:
        assert source.size == count * len(line)
        assert sum(1 for _ in source.records(no_bad)) == count
    sizes = [size for method, _, size in nginx.asked() if method == "GET"]
    assert max(sizes) == AHEAD
    assert sum(sizes) == count * len(line)


@pytest.mark.needs("nginx")
async def test_a_server_without_ranges_is_refused(tmp_path: Path) -> None:
    server = objects.Nginx(tmp_path, ranges=False)
    try:
        (server.files / "devices.csv").write_bytes(written("csv", tmp_path))
        url = f"{server.url}/devices.csv"
        with Audience(url) as source:
            first, *_ = reference_chunks(source, url, CHUNK)
            about = described(source)
        shelf = ReferenceReader()
        with pytest.raises(
            CampaignConflict, match=r"devices.csv cannot be read \(it cannot be read in parts\)"
        ):
            await rows_of(shelf, first, about)
        shelf.close()
    finally:
        server.stop()
