"""`Template`: a payload with placeholders, which makes pushes from rows. Used by `send`, workers and programs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, NoReturn, Self, TypedDict, Unpack, cast

from ..arguments import check, check_choice, check_type, check_whole, kind
from ..audience.audience import CSV, Audience
from ..audience.problems import BadInput, BadRow
from ..audience.records import OnBad
from ..audience.shards import WHOLE, Shard
from ..errors import ConfigurationError
from ..models.apns import PUSH_TYPES, ApnsPriority, ApnsPushType, Notification, PushType
from ..models.expo import FORMS, AndroidForm
from ..models.fcm import Message
from ..models.json_values import json_problem
from ..models.times import expiration_problem
from ..results import Verdict
from .apns_rows import ApnsRows, RowDefaults
from .devices import APNS, FCM, NAMES, find_device, token_of
from .duplicates import Duplicates, TokenSample
from .fcm_rows import FcmRows
from .formats import FORMATS, PayloadFiles
from .json_template import read_object
from .notices import csv_notices
from .payload import ApnsPayload, FcmPayload, Payload
from .rows import NO_MAPPING, NO_PUSH, STRANGE, Rows
from .rows import OnBad as OnBadRow

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

    The payload is converted once; the values of each row are inserted, escaped as JSON. If a value affects other fields (an
    empty title, a badge of 0), the push is the same as if the payload had been written with that value.

    `columns`: the columns of the placeholders, in order of appearance. `notices`: warnings about probable mistakes in the
    payload. `platforms`: "apns", "fcm" or both.

    Args:
        payload: A JSON object in Expo's format, in that of APNs or FCM (a v1 message without a target), or
            {"apns": …, "fcm": …}. If a string is `{{column}}` alone, the value keeps its type. If the string has other text,
            or the field must be a text, the value is inserted as text. `{{column:int}}`, `:float`, `:json` and `:text`
            convert it.
        format: The format of the payload; "auto" recognises it by its keys.
        android: The form for Android of a message in Expo's format, as in `to_push`.
        experience_id: For Expo Go, as in `to_push`.
        scope_key: For Expo Go, as in `to_push`.
        push_type: As in `Notification`; None: the type that the payload needs.
        priority: As in `Notification`; None: the priority of a message in Expo's format, or APNs' default.
        expiration: The time until which APNs may keep the pushes, as in `Notification`; None: as for `priority`.
        collapse_id: The collapse id of all pushes to APNs, as in `Notification`; None: as for `priority`.
        name: The name of the payload in errors.

    Raises:
        ConfigurationError: The payload is invalid for every row; the message says why.
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
        check_type("name", name, str, "a string")
        if not isinstance(payload, Mapping):
            raise ConfigurationError(f"{name} must be a JSON object, not {kind(payload)}")
        check_choice("format", format, FORMATS)
        check_choice("android", android, FORMS)
        check_type("experience_id", experience_id, (str, NoneType), "a string or None")
        check_type("scope_key", scope_key, (str, NoneType), "a string or None")
        _check_options(push_type, priority, expiration, collapse_id)
        content = dict(payload)
        if problem := json_problem(content, name):
            raise ConfigurationError(problem)
        options = PayloadFiles(
            form=format,
            push_type=push_type,
            android=android,
            experience_id=experience_id,
            scope_key=scope_key,
            format_option="format",
        )
        try:
            payloads = options.of_object(content, name)
        except BadInput as error:
            raise ConfigurationError(str(error)) from None
        self._set(payloads, RowDefaults(push_type, priority, expiration, collapse_id), None)

    @classmethod
    def from_file(cls, path: str | Path, **options: Unpack[TemplateOptions]) -> Self:
        """The template in a JSON file.

        Args:
            path: Of the file.
            options: The keyword arguments of `Template`.

        Raises:
            ConfigurationError: The file cannot be read, or the payload is invalid for every row.
        """
        check_type("path", path, (str, os.PathLike), "a path")
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
        """A template from payloads that have been compiled already.

        Args:
            payloads: By provider, "apns" or "fcm".
            defaults: The options for rows without their own columns.
            id_prefix: The beginning of the apns-ids of the rows; random by default.
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
            row: The column `token` (or the object of getDevicePushTokenAsync, {"type", "data"}), the columns of the template,
                and `platform` if the provider is not recognised by the shape of the token. For APNs, the columns `topic`,
                `push_type`, `priority`, `expiration`, `collapse_id` and `apns_id` override the options of the template.

        Returns:
            A `Notification`, or a `Message` with read-only fields, except for the target.

        Raises:
            ValueError: The row cannot become a push; the message says why.
        """
        if not hasattr(row, "get"):
            raise ValueError(NO_MAPPING.format(kind(row)))
        try:
            device = find_device(token_of(row), row.get("platform"), keys=row)
            number = next(self._numbers)
            if device.platform == APNS:
                return self._make_apns(number, device.token, row)
            return self._make_fcm(number, device.token, device.fid, row)
        except BadRow as error:
            raise ValueError(str(error)) from None
        except STRANGE as error:
            raise ValueError(f"{NO_PUSH}: {error}") from None

    def render_many(
        self, rows: Iterable[Mapping[str, Any]], on_bad: Callable[[int, str], object] | None = None
    ) -> Iterator[Notification | Message]:
        """The pushes of rows, for `send_many`. Each has the number of its row, counted from 1, in the attribute `row`.

        Args:
            rows: The rows, as in `render`. They are read one at a time.
            on_bad: Called with the number of a row that cannot become a push, and the reason.

        Returns:
            An iterator that makes each push when it is requested.

        Raises:
            ValueError: A row cannot become a push, and there is no `on_bad`.
        """

        def bad(number: int, token: str, reason: str, platform: str, verdict: Verdict) -> None:
            if on_bad is None:
                raise ValueError(f"row {number}: {reason}")
            on_bad(number, reason)

        if not isinstance(rows, Iterable):
            raise ValueError(f"rows must be an iterable of mappings, not {kind(rows)}")
        # A new template, because each call has its own prefix of apns-ids.
        again = type(self).of_payloads(self._payloads, self._defaults)
        yield from again.rows(cast(Audience, _Given(rows)), bad, missing="the template has no payload for it")

    def notices_of(self, audience: Audience) -> list[str]:
        """Warnings about the payload with the rows of this audience: `notices`, and texts of CSV where devices expect numbers."""
        apns = None if self.apns is None else self.apns.payload
        texts = (
            csv_notices(apns.name, apns.template.placeholders)
            if isinstance(apns, ApnsPayload) and audience.form == CSV
            else []
        )
        return [*self.notices, *texts]

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
            audience: The source of the rows.
            on_bad: Called for a row that cannot become a push.
            shard: The part of the rows to read; by default all.
            sample: Counts duplicate tokens; None: they are not counted.
            duplicates: Rows to skip: an earlier row has their device.
            missing: Why rows of a provider without a payload cannot be sent, as the end of a sentence; None: its credentials
                were not given.

        Returns:
            The pushes, which can be iterated once.
        """
        return Rows(
            *(audience, self.apns, self.fcm, on_bad, shard),
            sample=sample,
            duplicates=duplicates,
            missing=missing,
        )


def _check_options(push_type: Any, priority: Any, expiration: Any, collapse_id: Any) -> None:
    """Raise `ConfigurationError` for an option that would make every push to APNs invalid."""
    if push_type is not None and not isinstance(push_type, PushType):
        check_choice("push_type", push_type, PUSH_TYPES)
    if priority is not None:
        check(type(priority) is int and priority in (1, 5, 10), "priority", "1, 5 or 10", priority)
    if collapse_id is not None:
        check_type("collapse_id", collapse_id, str, "a string")
    if isinstance(expiration, datetime):
        check(expiration.utcoffset() is not None, "expiration", "a datetime with a time zone", expiration)
    elif expiration is not None and not isinstance(expiration, timedelta):
        check_whole("expiration", expiration, least=0)
        problem = expiration_problem(expiration)
        if problem:
            raise ConfigurationError(f"expiration {problem}")


class _Given:
    """Rows of a program, with the interface of an `Audience` of NDJSON."""

    columns = None
    name = "the rows"

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = rows

    def select(self, wanted: Collection[str]) -> None:
        """Does nothing: the rows have all columns."""

    def records(self, on_bad: OnBad, shard: Shard = WHOLE) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """The rows with their numbers."""
        return enumerate(self._rows, 1)


def _nobody(platform: str) -> Callable[..., NoReturn]:
    def refuse(*_: Any) -> NoReturn:
        raise BadRow(f"this is a device of {NAMES[platform]}, and the template has no payload for it")

    return refuse
