"""Rows of an audience become pushes, each to the provider of its device."""

from __future__ import annotations

import asyncio
import threading
from binascii import unhexlify
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn

from ..arguments import kind
from ..audience.audience import Audience
from ..audience.dialects import meant_column, unused_columns
from ..audience.problems import BadInput, BadRow, shown
from ..audience.shards import WHOLE, Shard
from ..models.tokens import APNS_LENGTH, REGISTRATION
from ..results import Verdict
from .apns_rows import OVERRIDES, REGISTERED_AT, ApnsRow, ApnsRows
from .devices import APNS, APNS_WORDS, FCM, FCM_WORDS, NAMES, find_device, text_of, token_of
from .duplicates import DUPLICATE, ID_LENGTH, Duplicates, TokenSample
from .fcm_rows import FcmRow, FcmRows
from .formats import CREDENTIALS
from .json_template import JsonTemplate, place

_BATCH: Final = 256
_BATCHES_AHEAD: Final = 8

NO_MAPPING: Final = "a row must be a mapping, not {}"
NO_PUSH: Final = "the row has a value that cannot be part of a push"
STRANGE: Final = (TypeError, ValueError, AttributeError, RecursionError)
"""Errors of a row whose values have no form in JSON. Only the rows of a program can have such values."""

Row = ApnsRow | FcmRow
Bad = tuple[int, str, str, str, Verdict]
"""A row without a push: its number, its token if known, the reason, the platform, the verdict."""
OnBad = Callable[[int, str, str, str, Verdict], None]


class Rows:
    """The pushes of an audience: an iterable for the engine. Rows without a push go to `on_bad`.

    `makers`: `apns` and `fcm`. `taken`: the number of the last row that was read. `ended`: whether all rows were read.
    `unserved`: the number of rows for a provider without credentials. `notices`: warnings about the columns.

    Args:
        audience: The rows.
        apns: Makes the pushes to APNs; None without credentials for it.
        fcm: Makes the pushes to FCM; None without credentials for it.
        on_bad: Called for each row without a push.
        shard: The part of the rows to read.
        sample: Counts duplicate tokens.
        duplicates: Rows to skip: an earlier row has their device.
        missing: Why there is no maker for a provider; by default it has no credentials.

    Raises:
        BadInput: A payload needs a column that the audience does not have.
    """

    def __init__(
        self,
        audience: Audience,
        apns: ApnsRows | None,
        fcm: FcmRows | None,
        on_bad: OnBad,
        shard: Shard = WHOLE,
        *,
        sample: TokenSample | None = None,
        duplicates: Duplicates | None = None,
        missing: str | None = None,
    ) -> None:
        self._missing = missing
        self.makers = apns, fcm
        self.sample = sample
        self.duplicates = duplicates
        self.audience = audience
        self.on_bad = on_bad
        self.shard = shard
        self.taken = 0
        self.unserved = 0
        self.stopped = False
        self.ended = False
        self.on_end: Callable[[], None] = lambda: None
        """Called when the last row has been read."""
        selected = {"token", "platform", REGISTERED_AT, *OVERRIDES}
        for maker in (apns, fcm):
            if maker is not None:
                _check_columns(maker.payload.template, audience)
                selected |= set(maker.payload.columns)
        self.notices = unused_columns(audience.columns or (), selected)
        audience.select(selected)
        columns = audience.columns
        self._key: Any = "token" if columns is None else audience.index("token")
        self._platform_key: Any = "platform"
        if columns is not None:
            self._platform_key = audience.index("platform") if "platform" in columns else None
        self._only = "" if apns and fcm else APNS if apns else FCM
        self._apns = apns.bind(audience) if apns else self._refuser(APNS)
        self._fcm = fcm.bind(audience) if fcm else self._refuser(FCM)

    def __iter__(self) -> Iterator[Row]:
        token_at, platform_at, only = self._key, self._platform_key, self._only
        sample, duplicates = self.sample, self.duplicates
        mask = 0 if sample is None else sample.mask
        by_name = self.audience.columns is None
        # When FCM is used too, a shorter hexadecimal token may be a Firebase installation id.
        min_length = 1 if only == APNS else APNS_LENGTH
        registration = REGISTRATION.fullmatch
        platform_value: Any = None
        push: Row
        for number, values in self.audience.records(self._bad, self.shard):
            if self.stopped:
                return
            self.taken = number
            if by_name:
                try:
                    token = values.get(token_at)
                except AttributeError:  # from a program; the rows of files are objects
                    self._bad(number, "", NO_MAPPING.format(kind(values)))
                    continue
                if token is None:
                    token = token_of(values)
                platform_value = values.get(platform_at)
            else:
                token = values[token_at]
                if platform_at is not None:
                    platform_value = values[platform_at]
            platform = ""
            try:
                # Usual tokens are recognised by the fastest check of their characters.
                fid = False
                try:
                    if ":" in token:
                        if registration(token) and (platform_value is None or platform_value in FCM_WORDS):
                            platform = FCM
                    else:
                        unhexlify(token)
                        if len(token) >= min_length and (
                            platform_value is None or platform_value in APNS_WORDS
                        ):
                            platform = APNS
                except (ValueError, TypeError):
                    pass
                if not platform:
                    device = find_device(token, platform_value, only, values if by_name else ())
                    platform, token, fid = device.platform, device.token, device.fid
                if duplicates is not None and number in duplicates:
                    raise BadRow(DUPLICATE)
                if platform == APNS:
                    if sample is not None and not hash(token) & mask:
                        mask = sample.add(token)
                    push = self._apns(number, token, values)
                else:
                    # The sample may contain the token or the installation id at its beginning.
                    if sample is not None and not (hash(token) & mask and hash(token[:ID_LENGTH]) & mask):
                        mask = sample.add_of_fcm(token)
                    push = self._fcm(number, token, fid, values)
            except BadRow as error:
                platform = platform or error.platform or only
                self.on_bad(number, text_of(token), str(error), platform, error.verdict)
                continue
            except STRANGE as error:
                reason = f"{NO_PUSH}: {error}"
                self.on_bad(number, text_of(token), reason, platform or only, Verdict.INVALID)
                continue
            yield push
        self.ended = True
        self.on_end()

    def stop(self) -> None:
        """Stop before the next row."""
        self.stopped = True

    def _refuser(self, platform: str) -> Callable[..., NoReturn]:
        missing = self._missing or f"{CREDENTIALS[platform]} was not given"
        reason = f"this is a device of {NAMES[platform]}, and {missing}"

        def refuse(*_: Any) -> NoReturn:
            self.unserved += 1
            raise BadRow(reason)

        return refuse

    def _bad(self, number: int, token: str, reason: str) -> None:
        self.taken = number
        shard = self.shard
        if (number - 1) // shard.chunk % shard.parts == shard.number:
            self.on_bad(number, token, reason, self._only, Verdict.INVALID)


def invisible_lines(*makers: ApnsRows | FcmRows | None) -> list[str]:
    """The summary's lines about rows whose values make the message display nothing."""
    counts = {
        NAMES[platform]: maker.invisible
        for platform, maker in zip((APNS, FCM), makers, strict=True)
        if maker and maker.invisible
    }
    return [
        f"  {'invisible':<13} {count:>12,}  the row's message has no visible part ({name})"
        for name, count in counts.items()
    ]


def _check_columns(template: JsonTemplate, audience: Audience) -> None:
    columns = audience.columns
    if columns is None:
        return
    for placeholder in template.placeholders:
        if placeholder.column not in columns:
            raise BadInput(
                f"{template.name}: the placeholder {shown('{{' + placeholder.column + '}}')} in {place(placeholder.path)} "
                f"names no column of {audience.name}; expected one of {shown(', '.join(columns))}"
                + meant_column(placeholder.column, columns)
            )
        audience.index(placeholder.column)


class PipedRows:
    """The pushes of an audience in a pipe, whose writer may be slow: a thread reads, so the event loop is not blocked.

    `taken`: the number of the last row that was yielded; the thread reads ahead of it.
    """

    def __init__(self, rows: Rows) -> None:
        self.taken = 0
        self._rows = rows
        self._report = rows.on_bad
        self._batch: list[Row | Bad] = []
        self._batch_slots = threading.Semaphore(_BATCHES_AHEAD)
        self._batches: asyncio.Queue[list[Row | Bad] | BaseException | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[Row]:
        self._loop = asyncio.get_running_loop()
        self._rows.on_bad = lambda *bad: self._batch.append(bad)
        self._rows.audience.before_waiting(self._post)
        # A daemon: nothing interrupts a read from an idle pipe.
        threading.Thread(target=self._read, name="pushcore audience", daemon=True).start()
        while (batch := await self._batches.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            self._batch_slots.release()
            for item in batch:
                if isinstance(item, tuple):
                    self.taken = item[0]
                    self._report(*item)
                else:
                    self.taken = item.row
                    yield item

    @property
    def ended(self) -> bool:
        """Whether the last row was yielded."""
        return self._rows.ended and self.taken == self._rows.taken

    def stop(self) -> None:
        """Stop after the rows that have been read."""
        self._rows.stopped = True
        self._batches.put_nowait(None)

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
            self._post()  # the rows read before the error
        try:
            self._loop.call_soon_threadsafe(self._batches.put_nowait, end)
        except RuntimeError:
            return  # the loop is closed: there is no consumer any more

    def _post(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        self._batch_slots.acquire()
        self._loop.call_soon_threadsafe(self._batches.put_nowait, batch)
