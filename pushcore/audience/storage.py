"""The storage of an audience: a path of this machine or of a share, or a URL of object storage, such as s3://bucket/devices.csv.

For URLs it needs the extra `pushcore[storage]` (fsspec) and the driver of that storage: s3fs for s3://, gcsfs for gs://,
adlfs for abfs://, aiohttp for https://. Credentials are the driver's affair: it takes them from its own variables and
files. Of an object, ranges are read and never all of it at once.
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

from .problems import BadInput, printable

AHEAD: Final = 4 * 1024 * 1024
"""Bytes of an object that are fetched at a time where it is read from the beginning to the end."""
ENDS: Final = 64 * 1024
"""Bytes at either end that stand for all of it in a fingerprint."""
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_VERSIONS: Final = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")


def read_range(path: str, start: int, end: int) -> bytes:
    """These bytes of a file or an object; fewer where it ends before. Raises `OSError` and `BadInput`."""
    if is_url(path):
        return _Object(path).range(start, end)
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), end - start, start)


class StoredFile(io.RawIOBase):
    """A file or an object that can be read from anywhere. Of an object, ranges are fetched.

    `name`: for messages, without what may be secret. `size`: bytes. `version`: differs in different states of it, as far
    as its storage tells. Raises `OSError`, and `BadInput` for a URL that cannot be used here.
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
        """What its storage says of it now: size and version. Raises `OSError`."""
        now = StoredFile(self._path)
        return now.size, now.version

    def range(self, start: int, end: int) -> bytes:
        """These bytes; fewer where it ends before."""
        end = min(end, self.size)
        if start >= end:
            return b""
        if self._object is not None:
            return self._object.range(start, end)
        return read_range(self._path, start, end)

    def fingerprint(self, end: int = ENDS) -> str:
        """Differs where the size, the first 64 KB or the last `end` bytes do."""
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
    """Whether this is a URL of object storage and not a path."""
    return _URL.match(path) is not None


def shown_path(path: str) -> str:
    """A path or a URL for a message: without a user, a password, or what follows a question mark."""
    if is_url(path):
        try:
            parts = urlsplit(path)
        except ValueError:  # a host that is none
            return f"{printable(path.partition('://')[0])}://…"
        path = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return printable(path)


def open_object(url: str) -> tuple[IO[bytes], int, Callable[[], tuple[object, ...]]]:
    """An object to be read from its beginning to its end, its size, and its `state`. Raises `OSError` and `BadInput`."""
    stored = StoredFile(url)
    return cast(IO[bytes], io.BufferedReader(stored, AHEAD)), stored.size, stored.state


class _Object:
    """An object behind a URL, by fsspec."""

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
        """These bytes; fewer where it ends before."""
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
            # Drivers have exceptions of all kinds, whose text may hold a signed URL.
            raise OSError(errno.EIO, type(error).__name__, self._name) from None
