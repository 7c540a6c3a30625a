"""Rows without a file, and what the slow way makes of them: each row's message is filled in, parsed and converted anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from pushcore.apns.request import ApnsRequestBuilder
from pushcore.audience.audience import Audience
from pushcore.audience.problems import BadRow
from pushcore.fcm.request import FcmRequestBuilder
from pushcore.models.expo import AndroidForm, message_fields, to_notification
from pushcore.models.expo_message import ExpoMessage, unknown_keys
from pushcore.models.fcm import Message
from pushcore.payloads.fcm_rows import FcmRows
from pushcore.payloads.json_template import JsonTemplate
from pushcore.payloads.payload import ExpoPayload, FcmPayload
from pushcore.payloads.text_fields import in_expo, in_fcm
from pushcore.requests import build_one
from pushcore.results import Result

APNS = "ab" * 32
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
FCM = f"{FID}:APA91b" + "x" * 134
Row = Any
"""A list in the order of the columns, or a dict."""


@dataclass
class Columns:
    """An audience with these columns, None for NDJSON."""

    columns: list[str] | None

    def index(self, column: str) -> int:
        assert self.columns is not None
        return self.columns.index(column)


def audience(columns: Sequence[str] | None) -> Audience:
    return cast(Audience, Columns(None if columns is None else list(columns)))


def fcm_message(payload: FcmPayload | ExpoPayload, columns: Sequence[str] | None, row: Row) -> dict[str, Any]:
    """The JSON of a row's message, without its target."""
    push = FcmRows(payload).bind(audience(columns))(1, FCM, False, row)
    message: dict[str, Any] = push.message().to_dict()["message"]
    assert message.pop("token") == FCM
    return message


class Requests:
    """What is sent for a push: always by the same two builders."""

    def __init__(self) -> None:
        self._apns = ApnsRequestBuilder("apns.example", "com.example.app", token_auth=True)
        self._fcm = FcmRequestBuilder("fcm.googleapis.com", "project")

    def of(self, make: Callable[..., Any], *arguments: Any) -> tuple[object, ...]:
        """The request of what `make` makes, or the sentence about a bad row or an invalid push."""
        try:
            push = make(*arguments)
        except (BadRow, ValueError) as error:
            return "bad row", str(error)
        builder = self._fcm if isinstance(push, Message) else self._apns
        built = build_one(builder, push, lambda exchange: None, 0.0)
        if isinstance(built, Result):
            assert built.push is push
            return built.verdict, built.reason, built.detail
        assert built.context is push
        body = orjson.dumps(orjson.loads(built.body), option=orjson.OPT_SORT_KEYS)
        # Equal shapes and equal header fields are one object.
        shape = built.shape if isinstance(push, Message) else None
        return body, built.path, built.own_fields, id(built.template), id(shape)


def slow_apns(content: dict[str, Any], columns: Any, row: Row, now: float) -> Any:
    """A push in Expo's format to APNs."""
    return to_notification(_message(content, columns, row), APNS, now=now)


def slow_fcm(
    content: dict[str, Any], columns: Any, row: Row, now: float, android: AndroidForm = "notification"
) -> Any:
    """The same to FCM."""
    return Message(token=FCM, **message_fields(_message(content, columns, row), android=android, now=now))


def _message(content: dict[str, Any], columns: Any, row: Row) -> ExpoMessage:
    unknown = unknown_keys(content)
    content = {key: value for key, value in content.items() if key not in unknown}
    return ExpoMessage.from_dict(
        orjson.loads(JsonTemplate.from_object(content, "p", in_expo).bind(columns)(row))
    )


def slow_own(content: dict[str, Any], columns: Any, row: Row) -> Any:
    """A message in FCM's own format."""
    ordered = {name: content[name] for name in Message.__slots__ if name in content}
    return Message(
        token=FCM, **orjson.loads(JsonTemplate.from_object(ordered, "p", in_fcm).bind(columns)(row))
    )
