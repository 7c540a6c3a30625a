"""Rows of an audience become pushes."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..models.apns import Notification
from .audience import Audience
from .problems import BadInput, BadRow, shown
from .template import Template

OVERRIDES: Final = ("topic", "push_type", "priority", "expiration", "collapse_id", "apns_id")
"""Columns that take the place of the command's option in rows where they are not empty."""

_NUMBERS: Final = frozenset({"priority", "expiration"})
_BATCH: Final = 256
_BATCHES_AHEAD: Final = 8
_MAX_KNOWN: Final = 4096


class Row(Notification):
    """The push of one row. `row`: its number in the audience, from 1 on."""

    __slots__ = ("row",)

    def __init__(
        self,
        row: int,
        token: str,
        payload: bytes,
        topic: str | None,
        push_type: str,
        priority: int | None,
        expiration: int | None,
        collapse_id: str | None,
        apns_id: str,
    ) -> None:
        # Spelt out: every push takes this way, and a call of the other __init__ doubles its price.
        self.row = row
        self.token = token
        self.payload = payload
        self.topic = topic
        self.push_type = push_type
        self.priority = priority
        self.expiration = expiration
        self.collapse_id = collapse_id
        self.apns_id = apns_id


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for rows that say nothing else. The topic is the client's."""

    push_type: str = "alert"
    priority: int | None = None
    expiration: int | None = None
    collapse_id: str | None = None


class Rows:
    """The pushes of an audience: an iterable of `Row` for the engine. What cannot be one goes to `on_bad`.

    `taken`: the number of the last row that was made a push or found bad.

    Raises:
        BadInput: the template needs a column that the audience does not have.
    """

    def __init__(
        self,
        audience: Audience,
        template: Template,
        defaults: Defaults,
        on_bad: Callable[[int, str, str], None],
        *,
        payload_name: str = "the payload",
    ) -> None:
        self.audience = audience
        self.on_bad = on_bad
        self.taken = 0
        self.stopped = False
        self._defaults = defaults
        self._prefix = id_prefix()
        self._known: dict[str, str] = {}
        self._template = template
        self._overrides: list[tuple[str, Any]]
        self._key: Any
        columns = audience.columns
        if columns is None:
            self._key = "token"
            self._overrides = [(name, name) for name in OVERRIDES]
        else:
            self._key = audience.index("token")
            self._overrides = [(name, audience.index(name)) for name in OVERRIDES if name in columns]
            for name in template.columns:
                if name not in columns:
                    raise BadInput(
                        f"{payload_name}: the placeholder {shown('{{' + name + '}}')} names no column of "
                        f"{audience.name}; expected one of {shown(', '.join(columns))}"
                    )
                audience.index(name)

    def __iter__(self) -> Iterator[Row]:
        defaults, prefix, token_at = self._defaults, self._prefix, self._key
        push_type, priority = defaults.push_type, defaults.priority
        expiration, collapse_id = defaults.expiration, defaults.collapse_id
        columns = self.audience.columns
        fill = self._template.bind(columns)
        constant = self._template.constant
        read = self._override if columns is not None else self._override_by_key
        overrides = bool(self._overrides)
        for number, values in self.audience.records(self._bad):
            if self.stopped:
                return
            self.taken = number
            token = values[token_at] if columns is not None else values.get(token_at)
            try:
                if not token or type(token) is not str:
                    raise BadRow("the row has no token")
                push = Row(
                    number,
                    token,
                    fill(values) if constant is None else constant,
                    None,
                    push_type,
                    priority,
                    expiration,
                    collapse_id,
                    f"{prefix}{number:012x}",
                )
                if overrides:
                    read(push, values)
            except BadRow as error:
                self.on_bad(number, token if type(token) is str else "", str(error))
                continue
            yield push

    def stop(self) -> None:
        """End before the next row."""
        self.stopped = True

    def _bad(self, number: int, token: str, reason: str) -> None:
        self.taken = number
        self.on_bad(number, token, reason)

    def _override(self, push: Row, values: Sequence[str]) -> None:
        for name, where in self._overrides:
            value = values[where]
            if value:
                self._set(push, name, value)

    def _override_by_key(self, push: Row, values: dict[str, Any]) -> None:
        for name, _ in self._overrides:
            value = values.get(name)
            if value is not None and value != "":
                self._set(push, name, value)

    def _set(self, push: Row, name: str, value: Any) -> None:
        if name in _NUMBERS:
            try:
                # A float with a fraction would be cut silently, and true is no number.
                number = int(value) if isinstance(value, str) or type(value) is int else None
            except ValueError:
                number = None
            if number is None:
                raise BadRow(f"{name}: {shown(value)} is not a whole number")
            setattr(push, name, number)
            return
        if type(value) is not str:
            raise BadRow(f"{name}: {shown(value)} is not a text")
        if name in ("topic", "push_type"):
            value = self._known_text(value)
        setattr(push, name, value)

    def _known_text(self, value: str) -> str:
        """The same object for the same text: the client recognises its last topic and push type by identity."""
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        return self._known.setdefault(value, value)


def id_prefix() -> str:
    """What the apns-ids of one campaign have in common: a random UUID (version 4) but for its last 12 digits."""
    digits = secrets.token_hex(9)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"


class WaitingRows:
    """The same pushes out of a pipe, whose writer may let us wait: a thread reads, the event loop goes on."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._report = rows.on_bad
        self._batch: list[Row | tuple[int, str, str]] = []
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._arrived: asyncio.Queue[list[Row | tuple[int, str, str]] | BaseException | None] = (
            asyncio.Queue()
        )

    async def __aiter__(self) -> AsyncIterator[Row]:
        self._loop = asyncio.get_running_loop()
        self._rows.on_bad = lambda *bad: self._batch.append(bad)
        self._rows.audience.before_waiting(self._post)
        # A daemon, for nothing ends a read from a pipe on which nobody writes.
        threading.Thread(target=self._read, name="pushcore audience", daemon=True).start()
        while (batch := await self._arrived.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            self._room.release()
            for each in batch:
                if type(each) is Row:
                    yield each
                else:
                    self._report(*each)  # type: ignore[misc]

    def stop(self) -> None:
        """End after what has been read."""
        self._rows.stopped = True
        self._arrived.put_nowait(None)

    def _read(self) -> None:
        end: BaseException | None = None
        try:
            for row in self._rows:
                self._batch.append(row)
                if len(self._batch) >= _BATCH:
                    self._post()
            self._post()
        except Exception as error:
            end = error
        try:
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, end)
        except RuntimeError:
            return  # the loop has been closed: nobody waits for us any more

    def _post(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        self._room.acquire()
        self._loop.call_soon_threadsafe(self._arrived.put_nowait, batch)
