"""The plain dialect: `/v1/push` and `/v1/push/batch`."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
import orjson
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from ...models.apns import Notification
from ...requests import build_one
from ...results import Result, Verdict
from ..callers import Caller
from ..door import JsonResponse, read_body
from ..gateway import Gateway
from ..problems import GatewayProblem
from ..senders import send_all
from .messages import CHECKED, Addressed, BadPush, PushRequest, address, invalid, result_json

MOST_PUSHES: Final = 1000
"""Pushes of one batch."""

INTERRUPTED: Final = "may have been delivered: an earlier request with this Idempotency-Key was interrupted"

T = TypeVar("T")


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Up to `MOST_PUSHES` pushes, each of which has its result in its place. `app`: of those that name none."""

    pushes: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_PUSHES)]
    app: Annotated[str, Meta(max_length=64)] | None = None
    validate_only: bool = False


_push_decoder: Final = msgspec.json.Decoder(PushRequest)
_batch_decoder: Final = msgspec.json.Decoder(BatchRequest)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The request in a body. Raises `GatewayProblem` when it is none."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise GatewayProblem(422, "invalid", str(error)) from None
    except (msgspec.DecodeError, RecursionError):
        raise GatewayProblem(400, "json", "the body is no JSON") from None


async def push(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """`POST /v1/push`: one push, whose result is the response."""
    body = await read_body(request, gateway.config.limits.body)
    wanted = decode(_push_decoder, body)
    app = gateway.app_of(caller, wanted.app)
    try:
        addressed = address(app, wanted)
    except BadPush as error:
        return json_response(result_json(invalid(str(error)), wanted.ref))
    if wanted.validate_only and (checked := check(addressed)) is not None:
        return json_response(result_json(checked, wanted.ref))

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


async def batch(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """`POST /v1/push/batch`: up to 1000 pushes; their results in their order, once all of them are known."""
    body = await read_body(request, gateway.config.limits.body)
    wanted = decode(_batch_decoder, body)
    results: list[Result | None] = [None] * len(wanted.pushes)
    refs: list[str | None] = [None] * len(wanted.pushes)
    sent: list[Addressed] = []
    places: list[int] = []
    for place, raw in enumerate(wanted.pushes):
        try:
            one = _push_decoder.decode(raw)
            refs[place] = one.ref
            addressed = address(gateway.app_of(caller, one.app or wanted.app), one)
        except GatewayProblem as problem:
            results[place] = invalid(problem.detail)
        except (BadPush, msgspec.DecodeError, RecursionError) as error:
            results[place] = invalid(str(error))
        else:
            if (one.validate_only or wanted.validate_only) and (checked := check(addressed)) is not None:
                results[place] = checked
                continue
            sent.append(addressed)
            places.append(place)

    def response() -> Response:
        return json_response(
            {
                "results": [
                    result_json(result, ref) for result, ref in zip(results, refs, strict=True) if result
                ]
            }
        )

    async def produce() -> Response:
        if sent:
            caller.spend(len(sent))
            request.scope["pushes"] = len(sent)
            for place, result in zip(places, await send_all(caller.name, sent), strict=True):
                results[place] = result
        return response()

    def lost() -> Response:
        for place, (_, one) in zip(places, sent, strict=True):
            results[place] = Result(one, Verdict.UNKNOWN, detail=INTERRUPTED)
        return response()

    return await gateway.idempotency.respond(caller, request, body, produce, lost)


def check(addressed: Addressed) -> Result | None:
    """The result of a push that is checked and not sent; None when its provider checks it (FCM's `validate_only`)."""
    sender, one = addressed
    if sender.provider == "fcm":
        one.validate_only = True
        return None
    if not isinstance(one, Notification):
        return Result(one, Verdict.UNSENT, detail=CHECKED)
    built = build_one(sender.client._dispatcher.requests, one, lambda exchange: None, 0.0)
    return built if isinstance(built, Result) else Result(one, Verdict.UNSENT, detail=CHECKED)


def json_response(value: Any) -> Response:
    """A response of JSON."""
    return JsonResponse(orjson.dumps(value))
