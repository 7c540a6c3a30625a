"""A `RenderedMessage` becomes an `Exchange`: its JSON is complete except for the target, and everything else in it has been checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from ..http2.exchange import NO_FIELDS, Exchange, Sink
from ..http2.headers import HeaderTemplate
from ..models.fcm_check import LIMIT, check_one_target, check_size, check_token
from ..models.fcm_values import FieldError
from ..models.rendered import TAIL, MessageForm
from ..requests import END, RequestBuilder, build_one
from ..results import Result
from .burst_tokens import may_all_be_registrations, take_out_mistaken
from .shapes import AcceptedShapes, MessageShape

_WRONG: Final = Exception

_END: Final = b'"' + TAIL

_join = b"".join


def build_rendered(
    plain: RequestBuilder,
    template: HeaderTemplate,
    accepted: AcceptedShapes,
    pushes: Iterable[Any],
    kind: type[Any],
    sink: Sink,
    deadline: float,
    exchanges: list[Exchange],
    rejected: list[Result],
) -> Any:
    """As `RequestBuilder.build`.

    Args:
        plain: Makes the requests of plain messages, which it checks.
        template: The header fields of every request.
        accepted: The shapes of the client's messages.
    """
    form: MessageForm | None = None
    shape: MessageShape | None = None
    built_before = len(exchanges)
    tokens: list[Any] = []  # tokens of the exchanges from there on; empty if there is nothing to check

    def build_checked(push: Any) -> None:
        """As a plain message: it has not been checked, or the error must be described."""
        built = build_one(plain, push.message(), sink, deadline)
        if isinstance(built, Exchange):
            built.context = push
            exchanges.append(built)
            tokens.append("")
        else:
            built.push = push
            rejected.append(built)

    try:
        for push in pushes:
            if type(push) is not kind:
                return push
            try:
                if push.form is None:
                    raise FieldError("it has not been checked")
                if push.form is not form:
                    form = push.form
                    pair = accepted.pair(form.shapes, apns=form.apns)
                    shape = pair.alerting if form.alerting else pair.silent
                token = push.token
                if push.fid is None and type(token) is str:
                    if len(token) < 23 or (token[22] != ":" and token[11] != ":"):
                        check_token(token)
                    # A token that needs escapes is removed below.
                    body = _join((push.json, b'"', token.encode(), _END))
                else:
                    name = check_one_target(push, ("token", "fid"))
                    check_token(getattr(push, name), name)
                    body = push.json + orjson.dumps(getattr(push, name)) + TAIL
                    token = ""
                if len(body) > LIMIT:  # the length of all keys and values that count
                    check_size(orjson.loads(body)["message"], LIMIT)
            except _WRONG:  # as a plain message: it has not been checked, or the error must be described
                build_checked(push)
                continue
            exchange = Exchange()
            exchange.shape = shape
            exchange.template = template
            exchange.path = b""
            exchange.body = body
            exchange.own_fields = NO_FIELDS
            exchange.sink = sink
            exchange.context = push
            exchange.deadline = deadline
            exchange.attempts = 1
            exchange.status = 0
            exchange.data = b""
            exchange.error = None
            exchanges.append(exchange)
            tokens.append(token)
    finally:  # the source may have raised
        if not may_all_be_registrations(tokens):
            for exchange, _ in take_out_mistaken(exchanges, built_before, tokens):
                build_checked(exchange.context)
    return END
