"""`POST /v1/push`: one push."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...engine.rules import dispatcher_of
from ...models.apns import Notification
from ...models.fcm import Message
from ...models.rendered import RenderedMessage
from ...requests import build_one
from ...results import Result, Verdict
from ..batches import send_all
from ..callers import Caller
from ..door import JsonResponse, read_body
from ..gateway import Gateway
from ..problems import GatewayProblem, in_words
from .messages import CHECKED, Addressed, BadPush, PushRequest, address, invalid, result_json

INTERRUPTED: Final = "may have been delivered: an earlier request with this Idempotency-Key was interrupted"

T = TypeVar("T")


push_decoder: Final = msgspec.json.Decoder(PushRequest)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The request in a body. Raises `GatewayProblem` when it is none."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise GatewayProblem(422, "invalid", in_words(str(error))) from None
    except (msgspec.DecodeError, RecursionError):
        raise GatewayProblem(400, "json", "the body is not JSON") from None


async def push(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """`POST /v1/push`: one push, whose result is the response."""
    body = await read_body(request, gateway.config.limits.body)
    wanted = decode(push_decoder, body)
    app = gateway.app_of(caller, wanted.app)
    try:
        addressed = address(app, wanted)
    except BadPush as error:
        return json_response(result_json(invalid(str(error)), wanted.ref))
    if wanted.validate_only:
        checked = check(addressed)
        if isinstance(checked, Result):
            return json_response(result_json(checked, wanted.ref))
        addressed = checked

    async def produce() -> Response:
        caller.spend(1)
        request.scope["pushes"] = 1
        (result,) = await send_all(caller.name, [addressed])
        return json_response(result_json(result, wanted.ref))

    def lost() -> Response:
        return json_response(
            result_json(Result(addressed[1], Verdict.UNKNOWN, detail=INTERRUPTED), wanted.ref)
        )

    return await gateway.idempotency.respond(caller, request, body, produce, lost)


def check(addressed: Addressed) -> Addressed | Result:
    """What is left of a push that is only checked: its result, or what its provider checks (FCM's `validate_only`)."""
    sender, one = addressed
    if isinstance(one, Message):
        if isinstance(one, RenderedMessage):
            one = one.message()
        one.validate_only = True
        return sender, one
    if not isinstance(one, Notification):
        return Result(one, Verdict.UNSENT, detail=CHECKED)
    built = build_one(dispatcher_of(sender.client).requests, one, lambda exchange: None, 0.0)
    return built if isinstance(built, Result) else Result(one, Verdict.UNSENT, detail=CHECKED)


def json_response(value: Any) -> Response:
    """A response of JSON."""
    return JsonResponse(orjson.dumps(value))
