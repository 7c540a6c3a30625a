"""Rows of an audience that go to APNs."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from ..audience.audience import Audience
from ..audience.problems import BadRow, shown
from ..models.apns import ENVIRONMENTS, ApnsPriority, ApnsPushType, Notification, PushType
from .payload import ApnsPayload, ExpoPayload
from .values import NoForm, no_form

OVERRIDES: Final = ("topic", "push_type", "priority", "expiration", "collapse_id", "apns_id", "environment")
"""Columns that override the command's option in an APNs row where they are not empty."""

REGISTERED_AT: Final = "registered_at"
"""The column with the time at which a device was registered.

A token that APNs reports as inactive since an earlier time is still valid.
"""

_OWN_COLUMNS: Final = frozenset((*OVERRIDES, REGISTERED_AT))
_NUMBERS: Final = frozenset({"priority", "expiration"})
_MAX_KNOWN: Final = 4096


class ApnsRow(Notification):
    """The push of one row.

    `row`: its number in the audience, from 1. `registered_at`: when its device was registered, as written in the row.
    """

    __slots__ = ("registered_at", "row")

    def __init__(
        self,
        row: int,
        token: str,
        payload: bytes | dict[str, Any],
        topic: str | None,
        push_type: ApnsPushType | PushType,
        priority: ApnsPriority | None,
        expiration: int | datetime | timedelta | None,
        collapse_id: str | None,
        apns_id: str,
    ) -> None:
        # Written out: this runs for every push, and calling the __init__ of the base class doubles its cost.
        self.row = row
        self.registered_at: Any = None
        self.token = token
        self.payload = payload
        self.topic = topic
        self.push_type = push_type
        self.priority = priority
        self.expiration = expiration
        self.collapse_id = collapse_id
        self.apns_id = apns_id
        self.environment = None


@dataclass(frozen=True, slots=True)
class RowDefaults:
    """The options for rows without columns of their own; None: the payload decides. The topic is the client's."""

    push_type: ApnsPushType | PushType | None = None
    priority: ApnsPriority | None = None
    expiration: int | datetime | timedelta | None = None
    collapse_id: str | None = None


Make = Callable[[int, str, Any], ApnsRow]
_new = ApnsRow.__new__


class ApnsRows:
    """Makes the pushes to APNs of one campaign. `invisible`: the number of pushes so far that display nothing.

    Args:
        payload: The payload of all rows.
        defaults: The options for rows without their own columns.
        prefix: The beginning of their apns-ids, see `id_prefix`; random by default.
    """

    def __init__(
        self, payload: ApnsPayload | ExpoPayload, defaults: RowDefaults, prefix: str | None = None
    ) -> None:
        self.payload = payload
        self._defaults = defaults
        self._prefix = prefix or id_prefix()
        self._known: dict[str, str] = {}
        self.invisible = 0

    def bind(self, audience: Audience) -> Make:
        """The function from a row's number, token and values to its push. It raises `BadRow` when the row has no push."""
        columns = audience.columns
        override = self._override(audience, columns)
        payload, options = self.payload, self._defaults
        if isinstance(payload, ApnsPayload):
            defaults = options if options.push_type else replace(options, push_type=payload.push_type)
            return self._bind(payload.template.constant, payload.template.bind(columns), defaults, override)
        forms = payload.apns_forms
        make = self._bind_forms(payload, columns, override)
        sole = None if payload.timed else forms.sole(0.0)
        if sole is None or sole.invisible or sole.payload is None or sole.collapse_id is not None:
            return make
        if not forms.uses_all(sole.payload):
            return make
        fill = forms.bind(sole.payload, columns, no_form)
        return self._bind(sole.payload.constant, fill, self._merged(sole.push), override, make)

    def _bind(
        self,
        constant: bytes | None,
        fill: Callable[[Any], bytes],
        defaults: RowDefaults,
        override: Callable[[ApnsRow, Any], None] | None,
        otherwise: Make | None = None,
    ) -> Make:
        """Make rows with one form of the payload, and perhaps their own columns. `otherwise`: makes rows that `fill` cannot."""
        prefix, push_type = self._prefix, defaults.push_type or "alert"
        priority, expiration, collapse_id = defaults.priority, defaults.expiration, defaults.collapse_id

        def make(number: int, token: str, values: Any) -> ApnsRow:
            try:
                content = fill(values) if constant is None else constant
            except NoForm:
                assert otherwise is not None
                return otherwise(number, token, values)
            push = _new(ApnsRow)  # without a call of `__init__`, which would cost as much as all stores
            push.row = number
            push.registered_at = None
            push.token = token
            push.payload = content
            push.topic = None
            push.push_type = push_type
            push.priority = priority
            push.expiration = expiration
            push.collapse_id = collapse_id
            push.apns_id = f"{prefix}{number:012x}"
            push.environment = None
            if override is not None:
                override(push, values)
            return push

        return make

    def _bind_forms(
        self,
        payload: ExpoPayload,
        columns: Sequence[str] | None,
        override: Callable[[ApnsRow, Any], None] | None,
    ) -> Make:
        """Make rows with values that affect more than their own field."""
        forms, timed, prefix = payload.apns_forms, payload.timed, self._prefix
        values_of, merged = forms.template.values(columns), self._merged

        def make(number: int, token: str, row: Any) -> ApnsRow:
            now = time.time() if timed else 0.0
            values = values_of(row)
            form = forms.form(values, now)
            if form is None:
                form = forms.alone(values, now)
            self.invisible += form.invisible
            push = form.push
            if form.lifetime is not None:
                push.expiration = int(now + form.lifetime)
            if form.collapse_id is not None:
                push.collapse_id = orjson.loads(form.collapse_id.fill(values))
            options = merged(push)
            made = ApnsRow(
                number,
                token,
                push.payload if form.payload is None else form.payload.fill(values),  # type: ignore[arg-type]  # no Aps
                None,
                options.push_type or "alert",
                options.priority,
                options.expiration,
                options.collapse_id,
                f"{prefix}{number:012x}",
            )
            if override is not None:
                override(made, row)
            return made

        return make

    def _merged(self, push: Notification) -> RowDefaults:
        """The options; those that are not set come from the message."""
        options = self._defaults
        return RowDefaults(
            push.push_type if options.push_type is None else options.push_type,
            push.priority if options.priority is None else options.priority,
            push.expiration if options.expiration is None else options.expiration,
            push.collapse_id if options.collapse_id is None else options.collapse_id,
        )

    # --- columns that override the options --------------------------------------------------------------------------

    def _override(
        self, audience: Audience, columns: Sequence[str] | None
    ) -> Callable[[ApnsRow, Any], None] | None:
        if columns is None:
            return self._override_by_key
        indices = [(name, audience.index(name)) for name in OVERRIDES if name in columns]
        registered_at_index = audience.index(REGISTERED_AT) if REGISTERED_AT in columns else None
        if registered_at_index is not None and not indices:

            def set_registered_at(push: ApnsRow, values: Sequence[Any]) -> None:
                push.registered_at = values[registered_at_index]

            return set_registered_at
        if not indices:
            return None

        def override(push: ApnsRow, values: Sequence[Any]) -> None:
            for name, index in indices:
                value = values[index]
                if value is not None and value != "":
                    self._set(push, name, value)
            if registered_at_index is not None:
                push.registered_at = values[registered_at_index]

        return override

    def _override_by_key(self, push: ApnsRow, values: dict[str, Any]) -> None:
        if _OWN_COLUMNS.isdisjoint(values):  # as in most rows
            return
        for name in OVERRIDES:
            value = values.get(name)
            if value is not None and value != "":
                self._set(push, name, value)
        push.registered_at = values.get(REGISTERED_AT)

    def _set(self, push: ApnsRow, name: str, value: Any) -> None:
        if name in _NUMBERS:
            try:
                # int() would truncate a float silently and accept true.
                number = int(value) if isinstance(value, str) or type(value) is int else None
            except ValueError:
                number = None
            if number is None:
                raise BadRow(f"{name}: {shown(value)} is not a whole number")
            setattr(push, name, number)
            return
        if type(value) is not str:
            raise BadRow(f"{name}: {shown(value)} is not text")
        if name == "environment" and value not in ENVIRONMENTS:
            raise BadRow(f"environment: {shown(value)} is not {' or '.join(ENVIRONMENTS)}")
        if name in ("topic", "push_type", "environment"):
            value = self._known_text(value)
        setattr(push, name, value)

    def _known_text(self, value: str) -> str:
        """The same object for equal texts: the client recognises its last topic and push type by identity."""
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        return self._known.setdefault(value, value)


def id_prefix() -> str:
    """The beginning of the apns-ids of one campaign: a random UUID (version 4) without its last 12 digits."""
    digits = secrets.token_hex(9)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"
