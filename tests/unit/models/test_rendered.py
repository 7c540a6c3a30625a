"""A message whose JSON a template has made: what it says of itself."""

from __future__ import annotations

import copy
import pickle

import pytest

from pushcore.models.fcm import Message
from pushcore.models.rendered import MessageForm, RenderedMessage

TOKEN = "dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b" + "x" * 134


def rendered(json: bytes, token: str = TOKEN) -> RenderedMessage:
    message = RenderedMessage.__new__(RenderedMessage)
    message.token, message.fid = token, None
    message.form, message.json = MessageForm((), apns=False, alerting=True), json
    return message


def test_its_fields_are_those_of_its_json() -> None:
    message = rendered(
        b'{"validate_only":true,"message":{"notification":{"title":"T"},"data":{"a":"b"},"token":'
    )
    assert (message.notification, message.data, message.android) == ({"title": "T"}, {"a": "b"}, None)
    assert (message.topic, message.validate_only) == (None, True)
    plain = Message(token=TOKEN, notification={"title": "T"}, data={"a": "b"}, validate_only=True)
    assert message.message() == plain
    assert message.to_dict() == plain.to_dict()
    assert repr(message) == repr(plain)


def test_they_are_read_only_for_the_json_is_what_is_sent() -> None:
    message = rendered(b'{"message":{"token":')
    with pytest.raises(AttributeError):
        message.data = {"a": "b"}
    with pytest.raises(AttributeError):
        message.validate_only = True


def test_equal_ones_have_equal_fields() -> None:
    one = rendered(b'{"message":{"data":{"a":"b"},"token":')
    assert one == rendered(b'{"message":{"data":{"a":"b"},"token":')
    assert one != rendered(b'{"message":{"data":{"a":"c"},"token":')
    assert one != rendered(b'{"message":{"data":{"a":"b"},"token":', "other:" + TOKEN)
    assert hash(one) == hash(rendered(b'{"message":{"data":{"a":"b"},"token":'))


class Row(RenderedMessage):
    __slots__ = ("row",)
    row: int


def test_copies_are_equal() -> None:
    message = Row.__new__(Row)
    message.token, message.fid, message.row = TOKEN, None, 7
    message.form, message.json = (
        MessageForm((("android",),), apns=False, alerting=True),
        b'{"message":{"token":',
    )
    for made in (copy.copy(message), copy.deepcopy(message), pickle.loads(pickle.dumps(message))):
        assert made == message
        assert (made.row, made.json, made.form) == (7, message.json, message.form)
        made.token = "other:" + TOKEN
        assert message.token == TOKEN


def test_a_message_that_is_not_json_yet() -> None:
    message = rendered(b"")
    message.form, message.plain = None, {"data": {"a": "b"}}
    assert (message.data, message.notification) == ({"a": "b"}, None)
    assert message.message() == Message(token=TOKEN, data={"a": "b"})
