"""Requests of rendered messages: their JSON and their target, and what is wrong with one as for a plain message."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pushcore.http2.exchange import Exchange
from pushcore.models.fcm import Message
from pushcore.models.rendered import MessageForm, RenderedMessage
from pushcore.requests import END
from pushcore.results import Result
from tests.unit.fcm.building import FID, TOKEN, requests

JSON = b'{"message":{"notification":{"title":"T"},"token":'
FORM = MessageForm((), apns=False, alerting=True)


def rendered(token: Any = TOKEN, fid: Any = None, form: MessageForm | None = FORM) -> RenderedMessage:
    message = RenderedMessage.__new__(RenderedMessage)
    message.token, message.fid, message.form = token, fid, form
    message.json = JSON if fid is None else JSON.replace(b"token", b"fid")
    message.plain = {"notification": {"title": "plain"}}
    return message


def burst(*pushes: Any) -> tuple[list[Exchange], list[Result], Any]:
    """The exchanges, the rejected ones, and the push that ended it."""
    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    ended = requests().build(iter(pushes), RenderedMessage, lambda _: None, 10.0, exchanges, rejected)
    return exchanges, rejected, ended


def test_the_json_is_sent_as_it_is_with_the_target() -> None:
    pushes = [rendered(), rendered(None, FID), rendered(FID)]
    exchanges, rejected, ended = burst(*pushes)
    assert (rejected, ended) == ([], END)
    assert [orjson.loads(exchange.body)["message"] for exchange in exchanges] == [
        {"notification": {"title": "T"}, "token": TOKEN},
        {"notification": {"title": "T"}, "fid": FID},
        {"notification": {"title": "T"}, "token": FID},
    ]
    assert [exchange.context for exchange in exchanges] == pushes


def test_a_message_that_was_not_checked_is_built_as_a_plain_one() -> None:
    push = rendered(form=None)
    (exchange,), rejected, _ = burst(push)
    assert (exchange.context, rejected) == (push, [])
    assert orjson.loads(exchange.body)["message"]["notification"] == {"title": "plain"}


def test_a_push_of_another_class_ends_the_burst() -> None:
    other = Message(token=TOKEN)
    exchanges, _, ended = burst(rendered(), other, rendered())
    assert (len(exchanges), ended) == (1, other)


@pytest.mark.parametrize("token", ["", "two words", 5, None, b"bytes", TOKEN + "é", "a:b c", FID + "!"])
@pytest.mark.parametrize("others", [0, 6])
def test_a_token_that_cannot_be_one_is_rejected_alone_as_in_a_plain_message(token: Any, others: int) -> None:
    """Among few, each is looked at; among many, all together."""
    wrong, good = rendered(token), [rendered() for _ in range(others)]
    exchanges, rejected, ended = burst(*good[:3], wrong, *good[3:])
    assert ended is END
    assert [exchange.context for exchange in exchanges] == good
    ((result,), (plain,)) = rejected, burst_of_plain(token)
    assert result.push is wrong
    assert (result.verdict, result.reason, str(result.detail)) == (
        plain.verdict,
        plain.reason,
        str(plain.detail),
    )


def burst_of_plain(token: Any) -> list[Result]:
    rejected: list[Result] = []
    message = Message(token=token, notification={"title": "T"})
    requests().build(iter([message]), Message, lambda _: None, 10.0, [], rejected)
    return rejected


def test_a_message_that_is_too_large_with_its_target_is_rejected() -> None:
    push = rendered()
    push.json = orjson.dumps({"message": {"data": {"a": "x" * 4097}, "token": ""}})[:-4]
    exchanges, (result,), _ = burst(push)
    assert exchanges == []
    assert "4096" in str(result.detail)


def test_what_the_source_raises_comes_after_what_was_built_is_checked() -> None:
    def source() -> Any:
        yield rendered()
        yield rendered("a:b c")
        raise KeyError("odd")

    exchanges: list[Exchange] = []
    rejected: list[Result] = []
    with pytest.raises(KeyError, match="odd"):
        requests().build(source(), RenderedMessage, lambda _: None, 10.0, exchanges, rejected)
    assert (len(exchanges), len(rejected)) == (1, 1)
