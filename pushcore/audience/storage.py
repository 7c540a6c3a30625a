"""The storage of an audience: a path, or a URL of object storage such as s3://bucket/devices.csv.

URLs need the extra `pushcore[storage]` (fsspec) and the driver of the storage: s3fs for s3://, gcsfs for gs://, adlfs for
abfs://, aiohttp for https://. The driver reads its credentials from its own environment variables and files. An object is
read in ranges, never completely at once.
"""

from __future__ import annotations

import errno
import importlib
import io
import os
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import IO, Any, Final, cast
from urllib.parse import urlsplit

from ..redaction import shown_name
from .problems import BadInput, printable

AHEAD: Final = 4 * 1024 * 1024
"""Bytes of an object that are fetched at a time when it is read from the beginning to the end."""
ENDS: Final = 64 * 1024
"""Bytes at the beginning and the end of an object from which its fingerprint is made."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_VERSIONS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


def read_range(path: str, start: int, end: int) -> bytes:
    """The bytes `start` to `end` of a file or an object; fewer if it ends before. Raises `OSError` and `BadInput`."""
    if is_url(path):
        return _Object(path).range(start, end)
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), end - start, start)


class StoredFile(io.RawIOBase):
    """A file or an object with random access. An object is fetched in ranges.

    `name`: the path in messages, without secrets. `size`: in bytes. `version`: changes with the content, if the storage
    reports it. Raises `OSError`, and `BadInput` for an invalid URL.
    """

    def __init__(self, path: str) -> None:
        self.name = shown_path(path)
        self._at = 0
        self._path = path
        self._object = _Object(path) if is_url(path) else None
        if self._object is not None:
            self.size, self.version = self._object.look()
        else:
            status = os.stat(path)
            self.size, self.version = status.st_size, str(int(status.st_mtime))

    def state(self) -> tuple[object, ...]:
        """Its size and version now. Raises `OSError`."""
        now = StoredFile(self._path)
        return now.size, now.version

    def range(self, start: int, end: int) -> bytes:
        """The bytes `start` to `end`; fewer if it ends before."""
        end = min(end, self.size)
        if start >= end:
            return b""
        if self._object is not None:
            return self._object.range(start, end)
        return read_range(self._path, start, end)

    def fingerprint(self, end: int = ENDS) -> str:
        """A fingerprint of the size, the first 64 KB and the last `end` bytes."""
        digest = blake2b(self.range(0, ENDS), digest_size=16)
        digest.update(self.range(max(self.size - end, 0), self.size))
        return f"{self.size}-{digest.hexdigest()}"

    # --- as a file ------------------------------------------------------------------------------------------------

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self.range(self._at, self._at + len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def is_url(path: str) -> bool:
    """Whether `path` is a URL of object storage."""
    return _URL.match(path) is not None


def shown_path(path: str) -> str:
    """A path or a URL for a message: without user, password and query."""
    if is_url(path):
        try:
            parts = urlsplit(path)
        except ValueError:  # an invalid host
            return f"{printable(path.partition('://')[0])}://…"
        path = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return printable(shown_name(path))


def open_object(url: str) -> tuple[IO[bytes], int, Callable[[], tuple[object, ...]]]:
    """An object opened for reading from beginning to end, its size, and its `state`. Raises `OSError` and `BadInput`."""
    stored = StoredFile(url)
    return cast(IO[bytes], io.BufferedReader(stored, AHEAD)), stored.size, stored.state


class _Object:
    """An object in the storage of a URL, by fsspec."""

    def __init__(self, url: str) -> None:
        self._name = shown_path(url)
        if "::" in url:
            raise BadInput(f"{self._name} is a chain of URLs; expected a single URL")
        try:
            core = importlib.import_module("fsspec.core")
        except ImportError:
            raise BadInput(f'{self._name} is a URL, which needs pip install "pushcore[storage]"') from None
        try:
            self._system, self._path = core.url_to_fs(url)
        except ImportError as error:
            raise BadInput(f"{self._name} cannot be read: {printable(str(error), 200)}") from None
        except Exception as error:
            raise BadInput(f"{self._name} is not a URL that fsspec knows ({type(error).__name__})") from None

    def look(self) -> tuple[int, str]:
        """Its size and version now."""
        self._system.invalidate_cache(self._path)
        info = self._ask(self._system.info)
        version = next((str(info[key]) for key in _VERSIONS if info.get(key)), "")
        return int(info["size"] or 0), version

    def range(self, start: int, end: int) -> bytes:
        """The bytes `start` to `end`; fewer if it ends before."""
        data = bytes(self._ask(self._system.cat_file, start=start, end=end))
        if len(data) > end - start:
            raise OSError(errno.ENOTSUP, "it cannot be read in parts", self._name)
        return data

    def _ask(self, question: Callable[..., Any], **options: int) -> Any:
        try:
            return question(self._path, **options)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", self._name) from None
        except Exception as error:
            # Drivers raise exceptions of many kinds; their texts may contain a signed URL.
            raise OSError(errno.EIO, type(error).__name__, self._name) from None
