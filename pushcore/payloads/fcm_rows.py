"""Rows of an audience that go to FCM."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..audience.audience import Audience
from ..models.fcm import Message
from .payload import ExpoPayload, FcmPayload


class FcmRow(Message):
    """The push of one row. `row`: its number in the audience, from 1."""

    __slots__ = ("row",)

    def __init__(self, row: int, token: str, *, fid: bool, **fields: Any) -> None:
        super().__init__(token=None if fid else token, fid=token if fid else None, **fields)
        self.row = row

    @property
    def device(self) -> str:
        """The registration token or the installation id."""
        return self.fid or self.token or ""


Make = Callable[[int, str, bool, Any], FcmRow]


class FcmRows:
    """Makes the pushes to FCM of one campaign."""

    def __init__(self, payload: FcmPayload | ExpoPayload) -> None:
        self.payload = payload

    def bind(self, audience: Audience) -> Make:
        """The function from a row's number, token, whether that is an installation id, and values to its push.

        It raises `BadRow` when the row has no push.
        """
        payload = self.payload
        if isinstance(payload, FcmPayload):
            fields_of, validate_only = payload.bind(audience.columns), payload.validate_only
            return lambda number, token, fid, values: FcmRow(
                number, token, fid=fid, validate_only=validate_only, **fields_of(values)
            )
        message_of, expo = payload.bind(audience.columns), payload
        message = payload.constant
        if message is not None and message.expiration is None:
            fields = expo.to_fcm(message, 0.0)
            return lambda number, token, fid, values: FcmRow(number, token, fid=fid, **fields)

        def make(number: int, token: str, fid: bool, values: Any) -> FcmRow:
            return FcmRow(number, token, fid=fid, **expo.to_fcm(message_of(values), time.time()))

        return make
