"""`Template`: a payload with placeholders, which makes the pushes of rows. `send`, workers and programs use it alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, Self, TypedDict, Unpack, cast

from ..audience.audience import Audience
from ..audience.problems import BadInput, BadRow
from ..audience.records import OnBad
from ..audience.shards import WHOLE, Shard
from ..errors import ConfigurationError
from ..models.apns import ApnsPriority, ApnsPushType, Notification, PushType
from ..models.expo import AndroidForm
from ..models.fcm import Message
from ..results import Verdict
from .apns_rows import ApnsRows, RowDefaults
from .devices import APNS, FCM, NAMES, find_device
from .duplicates import Duplicates, TokenSample
from .fcm_rows import FcmRows
from .formats import PayloadFiles
from .json_template import read_object
from .payload import ApnsPayload, FcmPayload, Payload
from .rows import OnBad as OnBadRow
from .rows import Rows

PayloadFormat = Literal["auto", "expo", "apns", "fcm"]

_THE_TEMPLATE: Final = "the template"


class TemplateOptions(TypedDict, total=False):
    """The options of `Template`."""

    format: PayloadFormat
    android: AndroidForm
    experience_id: str | None
    scope_key: str | None
    push_type: ApnsPushType | PushType | None
    priority: ApnsPriority | None
    expiration: int | datetime | timedelta | None
    collapse_id: str | None
    name: str


class Template:
    """A payload with placeholders such as `{{name}}`, from which the push of each row is made.

    It is converted once into what is sent; for a row its values are inserted, each escaped as JSON. A value that decides about
    more than itself (an empty title, a badge of 0) decides so for its row.

    `columns`: what the placeholders name, in order of appearance. `notices`: what in the payload probably is not meant so, in
    sentences. `platforms`: "apns", "fcm" or both.

    Args:
        payload: A JSON object in Expo's format, in APNs' or in FCM's (a v1 message without a target), or
            {"apns": …, "fcm": …}. A string that is `{{column}}` alone takes the value with its type; a string with more in
            it, or a field that must be a text, takes its text. `{{column:int}}`, `:float`, `:json` and `:text` convert it.
        format: The payload's format, where its keys do not tell.
        android: What Android gets of a message in Expo's format, as in `to_push`.
        experience_id: Of Expo Go, as in `to_push`.
        scope_key: Of Expo Go, as in `to_push`.
        push_type: As in `Notification`; None for what the payload is for.
        priority: As in `Notification`, as are the next two. None for what a message in Expo's format says.
        expiration: Until when APNs may keep the pushes.
        collapse_id: Of all pushes to APNs.
        name: What errors call the payload.

    Raises:
        ConfigurationError: The payload is wrong for every row; the message says why.
    """

    def __init__(
        self,
        payload: Mapping[str, Any],
        *,
        format: PayloadFormat = "auto",
        android: AndroidForm = "notification",
        experience_id: str | None = None,
        scope_key: str | None = None,
        push_type: ApnsPushType | PushType | None = None,
        priority: ApnsPriority | None = None,
        expiration: int | datetime | timedelta | None = None,
        collapse_id: str | None = None,
        name: str = _THE_TEMPLATE,
    ) -> None:
        if not isinstance(payload, Mapping):
            raise ConfigurationError(f"{name} must be a JSON object, not {type(payload).__name__}")
        options = PayloadFiles(
            form=format,
            push_type=push_type,
            android=android,
            experience_id=experience_id,
            scope_key=scope_key,
            format_option="format",
        )
        try:
            payloads = options.of_object(dict(payload), name)
        except BadInput as error:
            raise ConfigurationError(str(error)) from None
        self._set(payloads, RowDefaults(push_type, priority, expiration, collapse_id), None)

    @classmethod
    def from_file(cls, path: str | Path, **options: Unpack[TemplateOptions]) -> Self:
        """The template in a JSON file.

        Args:
            path: Of the file.
            options: As of `Template`.

        Raises:
            ConfigurationError: As `Template`, or the file cannot be read.
        """
        try:
            content = read_object(str(path))
        except BadInput as error:
            raise ConfigurationError(str(error)) from None
        options.setdefault("name", str(path))
        return cls(content, **options)

    @classmethod
    def of_payloads(
        cls, payloads: Mapping[str, Payload], defaults: RowDefaults, id_prefix: str | None = None
    ) -> Self:
        """A template of compiled payloads by platform.

        Args:
            payloads: by platform.
            defaults: of columns that a row does not have.
            id_prefix: of the apns-ids of the rows, random by default.
        """
        template = cls.__new__(cls)
        template._set(payloads, defaults, id_prefix)
        return template

    def _set(self, payloads: Mapping[str, Payload], defaults: RowDefaults, id_prefix: str | None) -> None:
        apns, fcm = payloads.get(APNS), payloads.get(FCM)
        assert not isinstance(apns, FcmPayload)
        assert not isinstance(fcm, ApnsPayload)
        self._payloads, self._defaults = payloads, defaults
        self.apns = None if apns is None else ApnsRows(apns, defaults, id_prefix)
        self.fcm = None if fcm is None else FcmRows(fcm)
        self.platforms = frozenset(payloads)
        self.columns = tuple(
            dict.fromkeys(column for payload in payloads.values() for column in payload.columns)
        )
        self.notices = list(
            dict.fromkeys(notice for payload in payloads.values() for notice in payload.notices)
        )
        self._numbers = itertools.count(1)
        alone = cast(Audience, _Given(()))
        self._make_apns = _nobody(APNS) if self.apns is None else self.apns.bind(alone)
        self._make_fcm = _nobody(FCM) if self.fcm is None else self.fcm.bind(alone)

    def render(self, row: Mapping[str, Any]) -> Notification | Message:
        """The push of one row.

        Args:
            row: `token`, or what getDevicePushTokenAsync returned, {"type", "data"}; `platform`, where the token's shape does
                not tell; and the template's columns. A row of APNs may have the columns `topic`, `push_type`, `priority`,
                `expiration`, `collapse_id` and `apns_id` of its own.

        Returns:
            A `Notification`, or a `Message` whose fields besides the target are read-only.

        Raises:
            ValueError: The row cannot become a push; the sentence says why.
        """
        try:
            token: Any = row.get("token")
            if token is None and "data" in row:
                token = row
            device = find_device(token, row.get("platform"))
            number = next(self._numbers)
            if device.platform == APNS:
                return self._make_apns(number, device.token, row)
            return self._make_fcm(number, device.token, device.fid, row)
        except BadRow as error:
            raise ValueError(str(error)) from None

    def render_many(
        self, rows: Iterable[Mapping[str, Any]], on_bad: Callable[[int, str], object] | None = None
    ) -> Iterator[Notification | Message]:
        """The pushes of rows, for `send_many`. Each has the number of its row, from 1 on, as `row`.

        Args:
            rows: As of `render`. One at a time is read.
            on_bad: Called with the number of a row that cannot become a push, and why.

        Returns:
            The pushes, made as they are taken.

        Raises:
            ValueError: A row cannot become a push, and there is no `on_bad`.
        """

        def bad(number: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
            if on_bad is None:
                raise ValueError(f"row {number}: {reason}")
            on_bad(number, reason)

        # With apns-ids of its own.
        again = type(self).of_payloads(self._payloads, self._defaults)
        yield from again.rows(cast(Audience, _Given(rows)), bad, missing="the template has no payload for it")

    def rows(
        self,
        audience: Audience,
        on_bad: OnBadRow,
        shard: Shard = WHOLE,
        *,
        sample: TokenSample | None = None,
        duplicates: Duplicates | None = None,
        missing: str | None = None,
    ) -> Rows:
        """The pushes of an audience, see `Rows`.

        Args:
            audience: where the rows come from.
            on_bad: called for a row that cannot become a push.
            shard: the rows of one process; None for all.
            sample: counts duplicates; None for none.
            duplicates: rows to leave out; None for none.
            missing: columns that the audience does not have.

        Returns:
            The rows, to be read once.
        """
        return Rows(
            *(audience, self.apns, self.fcm, on_bad, shard),
            sample=sample,
            duplicates=duplicates,
            missing=missing,
        )


class _Given:
    """Rows that a program has, as an `Audience` of NDJSON."""

    columns = None
    name = "the rows"

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = rows

    def select(self, wanted: Collection[str]) -> None:
        """All are there."""

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The rows with their numbers."""
        return enumerate(self._rows, 1)


def _nobody(platform: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        raise BadRow(f"this is a device of {NAMES[platform]}, and the template has no payload for it")

    return refuse
