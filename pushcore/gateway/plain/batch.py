"""`POST /v1/push/batch`: up to 1000 pushes, or a template with up to 1000 rows."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from ...errors import ConfigurationError
from ...models.apns import Notification
from ...payloads.template import Template
from ...results import Result, Verdict
from ..apps import App
from ..batches import send_all
from ..callers import Caller
from ..config import Environment
from ..door import JsonResponse, read_body
from ..gateway import Gateway
from ..problems import GatewayProblem
from .messages import (
    Addressed,
    BadPush,
    Format,
    Key,
    PushRequest,
    address,
    invalid,
    priority_of,
    push_type,
    result_text,
)
from .pushes import INTERRUPTED, check, decode, push_decoder

MOST_PUSHES: Final = 1000
"""Pushes of one batch."""


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Either `pushes`, each in the format of `/v1/push`, or a `template` with `rows`. The results are in the same order.

    `app`: for pushes without `app`, and for the template. `template`: a payload with placeholders such as `{{name}}`.
    `rows`: each has its `token`, the values of the placeholders, and optionally `platform` and `ref`. `format`, `environment`,
    `push_type`, `priority`, `expiration`, `collapse_id`: for the template, with the same meaning as in `/v1/push`.
    """

    pushes: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MOST_PUSHES)] | None = None
    template: dict[str, Any] | None = None
    rows: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MOST_PUSHES)] | None = None
    app: Annotated[str, Meta(max_length=64)] | None = None
    format: Format = "auto"
    environment: Environment | None = None
    push_type: Key | None = None
    priority: int | None = None
    expiration: int | None = None
    collapse_id: Key | None = None
    validate_only: bool = False


_decoder: Final = msgspec.json.Decoder(BatchRequest)


class PlainBatch:
    """The pushes of one request on their way, and their results.

    Args:
        count: of the pushes.
    """

    def __init__(self, count: int) -> None:
        self.results: list[Result | None] = [None] * count
        self.refs: list[str | None] = [None] * count
        self.sent: list[Addressed] = []
        """What is sent."""
        self.places: list[int] = []
        """The place of each of them."""

    def add(self, place: int, addressed: Addressed, validate_only: bool) -> None:
        """Send a push, or check it."""
        if validate_only:
            checked = check(addressed)
            if isinstance(checked, Result):
                self.results[place] = checked
                return
            addressed = checked
        self.sent.append(addressed)
        self.places.append(place)

    def response(self) -> Response:
        """All results, in order."""
        texts = [
            result_text(result, ref)
            for result, ref in zip(self.results, self.refs, strict=True)
            if result is not None
        ]
        return JsonResponse(f'{{"results":[{",".join(texts)}]}}'.encode())

    async def produce(self, caller: Caller, request: Request) -> Response:
        """Send; the response."""
        if self.sent:
            caller.spend(len(self.sent))
            request.scope["pushes"] = len(self.sent)
            for place, result in zip(self.places, await send_all(caller.name, self.sent), strict=True):
                self.results[place] = result
        return self.response()

    def lost(self) -> Response:
        """The response to a repeat of a request that was interrupted."""
        for place, (_, one) in zip(self.places, self.sent, strict=True):
            self.results[place] = Result(one, Verdict.UNKNOWN, detail=INTERRUPTED)
        return self.response()


async def batch(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """The endpoint: results in the order of the pushes, once all of them are known."""
    body = await read_body(request, gateway.config.limits.body)
    wanted = decode(_decoder, body)
    if (wanted.pushes is None) == (wanted.template is None) or (wanted.template is None) != (
        wanted.rows is None
    ):
        raise GatewayProblem(422, "invalid", "expected either pushes, or template and rows")
    made = (
        _of_pushes(gateway, caller, wanted)
        if wanted.pushes is not None
        else _of_rows(gateway, caller, wanted)
    )
    return await gateway.idempotency.respond(
        caller, request, body, lambda: made.produce(caller, request), made.lost
    )


def _of_pushes(gateway: Gateway, caller: Caller, wanted: BatchRequest) -> PlainBatch:
    pushes = wanted.pushes or []
    made = PlainBatch(len(pushes))
    apps: dict[str | None, App] = {}
    decode, refs, validate_only = push_decoder.decode, made.refs, wanted.validate_only
    for place, raw in enumerate(pushes):
        try:
            one = decode(raw)
            refs[place] = one.ref
            app = apps.get(one.app)
            if app is None:
                app = apps[one.app] = gateway.app_of(caller, one.app or wanted.app)
            made.add(place, address(app, one), validate_only or one.validate_only)
        except GatewayProblem as problem:
            made.results[place] = invalid(problem.detail)
        except (BadPush, msgspec.DecodeError, RecursionError) as error:
            made.results[place] = invalid(str(error))
    return made


def _of_rows(gateway: Gateway, caller: Caller, wanted: BatchRequest) -> PlainBatch:
    """Raises `GatewayProblem` when the template cannot be sent to any row."""
    rows = wanted.rows or []
    app = gateway.app_of(caller, wanted.app)
    template = _template(app, wanted)
    made = PlainBatch(len(rows))
    for place, row in enumerate(rows):
        ref = row.get("ref")
        made.refs[place] = ref if isinstance(ref, str) and len(ref) <= 256 else None
        try:
            one = template.render(row)
            if isinstance(one, Notification):
                sender = app.apns(wanted.environment, one.topic)
            else:
                sender = app.to_fcm()
            made.add(place, (sender, one), wanted.validate_only)
        except GatewayProblem as problem:
            made.results[place] = invalid(problem.detail)
        except (ValueError, TypeError, RecursionError) as error:
            made.results[place] = invalid(str(error))
    return made


def _template(app: App, wanted: BatchRequest) -> Template:
    options = PushRequest({}, push_type=wanted.push_type, priority=wanted.priority)
    try:
        return Template(
            wanted.template or {},
            format=wanted.format,
            android=app.section.android,
            push_type=push_type(options),
            priority=priority_of(options),
            expiration=wanted.expiration,
            collapse_id=wanted.collapse_id,
        )
    except (ConfigurationError, BadPush, RecursionError) as error:
        raise GatewayProblem(422, "template", str(error)) from None
