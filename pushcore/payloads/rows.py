"""Rows of an audience become pushes, each to the provider of its device."""

from __future__ import annotations

import asyncio
import threading
from binascii import unhexlify
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, NoReturn

from ..audience.audience import Audience
from ..audience.problems import BadInput, BadRow, shown
from ..audience.shards import WHOLE, Shard
from ..models.tokens import APNS_LENGTH
from ..results import Verdict
from .apns_rows import OVERRIDES, REGISTERED_AT, ApnsRow, ApnsRows
from .devices import APNS, APNS_WORDS, FCM, NAMES, find_device, text_of
from .duplicates import DUPLICATE, ID_LENGTH, Duplicates, TokenSample
from .fcm_rows import FcmRow, FcmRows
from .formats import CREDENTIALS
from .payload import ExpoPayload

_BATCH: Final = 256
_BATCHES_AHEAD: Final = 8

Row = ApnsRow | FcmRow
Bad = tuple[int, str, str, str, Verdict]
"""A row that is no push: its number, its token as far as it is known, the reason, the platform, the verdict."""
OnBad = Callable[[int, str, str, str, Verdict], None]


class Rows:
    """The pushes of an audience: an iterable for the engine. What cannot be one goes to `on_bad`.

    `apns`, `fcm`: for each provider that can be sent to, what makes its pushes. `shard`: which part of the rows to give.
    `sample`: what counts tokens that come again. `duplicates`: the rows that are left out, for a row before has their device.
    `makers`: `apns` and `fcm`. `taken`: the number of the last row that was looked at. `ended`: there are no more. `unserved`: how many rows
    are of a provider that there is no maker for.

    Raises:
        BadInput: a payload needs a column that the audience does not have.
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
    ) -> None:
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
        wanted = {"token", "platform", REGISTERED_AT, *OVERRIDES}
        for each in (apns, fcm):
            if each is not None:
                _check_columns(each.payload.name, each.payload.columns, audience)
                wanted |= set(each.payload.columns)
        audience.select(wanted)
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
        # Shorter ones may be Firebase's where that is sent to as well.
        least = 1 if only == APNS else APNS_LENGTH
        said: Any = None
        push: Row
        for number, values in self.audience.records(self._bad, self.shard):
            if self.stopped:
                return
            self.taken = number
            if by_name:
                token = values.get(token_at)
                if token is None and "data" in values:
                    token = values  # what getDevicePushTokenAsync returned is the row itself
                said = values.get(platform_at)
            else:
                token = values[token_at]
                if platform_at is not None:
                    said = values[platform_at]
            platform = ""
            try:
                try:
                    unhexlify(token)  # the cheapest look at 64 characters
                    plain = len(token) >= least and (said is None or said in APNS_WORDS)
                except (ValueError, TypeError):
                    plain = False
                if plain:
                    platform = APNS
                else:
                    device = find_device(token, said, only)
                    platform, token = device.platform, device.token
                if duplicates is not None and number in duplicates:
                    raise BadRow(DUPLICATE)
                if platform == APNS:
                    if sample is not None and not hash(token) & mask:
                        mask = sample.add(token)
                    push = self._apns(number, token, values)
                else:
                    # Neither the token nor the installation id that it begins with: then it is not in the sample.
                    if sample is not None and not (hash(token) & mask and hash(token[:ID_LENGTH]) & mask):
                        mask = sample.add_of_fcm(token)
                    push = self._fcm(number, token, device.fid, values)
            except BadRow as error:
                platform = platform or error.platform or only
                self.on_bad(number, text_of(token), str(error), platform, error.verdict)
                continue
            yield push
        self.ended = True
        self.on_end()

    def stop(self) -> None:
        """End before the next row."""
        self.stopped = True

    def _refuser(self, platform: str) -> Callable[..., NoReturn]:
        reason = f"this is a device of {NAMES[platform]}, and {CREDENTIALS[platform]} was not given"

        def refuse(*_: Any) -> NoReturn:
            self.unserved += 1
            raise BadRow(reason)

        return refuse

    def _bad(self, number: int, token: str, reason: str) -> None:
        self.taken = number
        shard = self.shard
        if (number - 1) // shard.chunk % shard.parts == shard.number:
            self.on_bad(number, token, reason, self._only, Verdict.INVALID)


def notices_of(*makers: ApnsRows | FcmRows | None) -> list[str]:
    """What the operator should know of the payloads before anything is sent, each once."""
    return list(dict.fromkeys(each for maker in makers if maker for each in maker.payload.notices))


def invisible_lines(*makers: ApnsRows | FcmRows | None) -> list[str]:
    """What a summary says of rows whose own values left nothing to be seen of the message."""
    counts = {
        NAMES[platform]: maker.payload.invisible
        for platform, maker in zip((APNS, FCM), makers, strict=True)
        if maker and isinstance(maker.payload, ExpoPayload) and maker.payload.invisible
    }
    return [
        f"  {'invisible':<13} {count:>12,}  the row's message has nothing to show ({name})"
        for name, count in counts.items()
    ]


def _check_columns(name: str, needed: tuple[str, ...], audience: Audience) -> None:
    columns = audience.columns
    if columns is None:
        return
    for column in needed:
        if column not in columns:
            raise BadInput(
                f"{name}: the placeholder {shown('{{' + column + '}}')} names no column of "
                f"{audience.name}; expected one of {shown(', '.join(columns))}"
            )
        audience.index(column)


class PipedRows:
    """The same pushes out of a pipe, whose writer may let us wait: a thread reads, the event loop goes on.

    `taken`: the last row that was handed on, while the thread is ahead of that.
    """

    def __init__(self, rows: Rows) -> None:
        self.taken = 0
        self._rows = rows
        self._report = rows.on_bad
        self._batch: list[Row | Bad] = []
        self._room = threading.Semaphore(_BATCHES_AHEAD)
        self._arrived: asyncio.Queue[list[Row | Bad] | BaseException | None] = asyncio.Queue()

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
                if isinstance(each, tuple):
                    self.taken = each[0]
                    self._report(*each)
                else:
                    self.taken = each.row
                    yield each

    @property
    def ended(self) -> bool:
        """Whether the last row was handed on."""
        return self._rows.ended and self.taken == self._rows.taken

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
            self._post()  # what was read before it
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
