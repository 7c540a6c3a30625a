"""Rows of an audience that go to FCM."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..audience.audience import Audience
from ..models.rendered import RenderedMessage
from .payload import ExpoPayload, FcmPayload
from .values import NoForm, no_form


class FcmRow(RenderedMessage):
    """The push of one row. `row`: its number in the audience, from 1."""

    __slots__ = ("row",)

    def __init__(self, row: int, token: str, *, fid: bool, **fields: Any) -> None:
        self.row = row
        self.token = None if fid else token
        self.fid = token if fid else None
        self.form = None
        self.plain = fields

    @property
    def device(self) -> str:
        """The registration token or the installation id."""
        return self.fid or self.token or ""


Make = Callable[[int, str, bool, Any], FcmRow]
_new = FcmRow.__new__


class FcmRows:
    """Makes the pushes to FCM of one campaign. `invisible`: the number of pushes so far that display nothing."""

    def __init__(self, payload: FcmPayload | ExpoPayload) -> None:
        self.payload = payload
        self.invisible = 0

    def bind(self, audience: Audience) -> Make:
        """The function from a row's number, token, whether that is an installation id, and values to its push.

        It raises `BadRow` when the row has no push.
        """
        forms, timed = self.payload.fcm_forms, self.payload.timed
        columns = audience.columns
        values_of = forms.template.values(columns)

        def make(number: int, token: str, fid: bool, row: Any) -> FcmRow:
            now = time.time() if timed else 0.0
            values = values_of(row)
            form = forms.form(values, now)
            if form is None:
                form = forms.alone(values, now)
            self.invisible += form.invisible
            if form.form is None:
                return FcmRow(number, token, fid=fid, **form.fields)
            push = _new(FcmRow)
            push.row = number
            push.form = form.form
            if fid:
                push.token, push.fid = None, token
                push.json = form.fid.fill(values)
            else:
                push.token, push.fid = token, None
                push.json = form.token.fill(values)
            return push

        sole = None if timed else forms.sole(0.0)
        if sole is None or sole.invisible or not forms.uses_all(sole.token):
            return make
        form = sole.form
        of_token, of_fid = (forms.bind(pieces, columns, no_form) for pieces in (sole.token, sole.fid))

        def make_fast(number: int, token: str, fid: bool, row: Any) -> FcmRow:
            try:
                json = of_fid(row) if fid else of_token(row)
            except NoForm:
                return make(number, token, fid, row)
            push = _new(FcmRow)
            push.row = number
            push.form = form
            push.json = json
            if fid:
                push.token, push.fid = None, token
            else:
                push.token, push.fid = token, None
            return push

        return make_fast
