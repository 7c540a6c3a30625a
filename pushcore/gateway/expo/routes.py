"""Expo's routes: `/--/api/v2/push/send`, `/getReceipts` and `/getExpoPushToken`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...models.tokens import TokenKind
from ...results import ACCEPTED, Result
from ..apps import App
from ..batches import send_all
from ..callers import Caller
from ..config import Environment
from ..door import Guarded, read_body
from ..gateway import Gateway
from ..problems import GatewayProblem
from ..senders import REQUEST, AppSender
from . import dialect
from .dialect import Contents, ExpoError, Plan, SendRequest
from .registrations import Registrations
from .sealed import AppDevice
from .tickets import Json, error_ticket, outcome_of, ticket_of

API: Final = "/--/api/v2/push/"

INTERRUPTED: Final = "may have been delivered: the gateway was interrupted while it sent this"
_CODES: Final = {401: "UNAUTHORIZED", 429: "TOO_MANY_REQUESTS"}

_Handler = Callable[[Gateway, Caller, Request], Awaitable[Response]]


def routes() -> list[Route]:
    """The routes of Expo's dialect."""
    registrations = Registrations()
    return [
        Route(API + "send", _guarded(send), methods=["POST"]),
        Route(API + "getReceipts", _guarded(get_receipts), methods=["POST"]),
        Route(API + "getExpoPushToken", _guarded(registrations.get_token, anonymous=True), methods=["POST"]),
    ]


def _guarded(handler: _Handler, *, anonymous: bool = False) -> Guarded:
    async def answered(gateway: Gateway, caller: Caller, request: Request) -> Response:
        try:
            return await handler(gateway, caller, request)
        except ExpoError as error:
            return _error(error)

    return Guarded(answered, on_problem, anonymous=anonymous)


def on_problem(problem: GatewayProblem) -> Response:
    """A problem of the gateway's as Expo's error."""
    internal = "INTERNAL_SERVER_ERROR" if problem.status >= 500 else "VALIDATION_ERROR"
    code = _CODES.get(problem.status, internal)
    error = ExpoError(problem.status, code, problem.detail)
    return Response(error.body(), problem.status, problem.headers(), "application/json")


def _error(error: ExpoError) -> Response:
    return Response(error.body(), error.status, media_type="application/json")


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


# --- sending --------------------------------------------------------------------------------------------------------


async def send(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """`POST /--/api/v2/push/send`: a ticket for each recipient, after its provider's response."""
    body = await read_body(request, gateway.config.limits.body)
    name = request.query_params.get("app")

    wanted = dialect.read_send(dialect.read_json(body))
    apps = _apps_of(gateway, caller)
    if name is not None and name not in apps:
        raise dialect.invalid("this caller has no app with the id in ?app=")
    if name is None and len(apps) == 1:
        (name,) = apps
    plan = dialect.plan(wanted, gateway.sealing.tokens, apps, name, lambda app: apps[app].expo is not None)

    async def produce() -> Response:
        if plan.app is not None:
            await _deliver(gateway, caller, request, wanted, plan, apps[plan.app])
        return _tickets(wanted, plan)

    def lost() -> Response:
        for number, ticket in enumerate(plan.tickets):
            if ticket is None:
                token = wanted.recipients[number][1]
                plan.tickets[number] = error_ticket("ProviderError", INTERRUPTED, token)
        return _tickets(wanted, plan)

    return await gateway.idempotency.respond(caller, request, body, produce, lost)


def _tickets(wanted: SendRequest, plan: Plan) -> Response:
    tickets = plan.tickets
    for number, first in plan.copies:
        tickets[number] = _copied(tickets[first], wanted.recipients[number][1])
    return _json(dialect.send_response(wanted, tickets))


def _apps_of(gateway: Gateway, caller: Caller) -> dict[str, App]:
    """The apps that a caller may use, by id."""
    if not caller.apps:
        return gateway.apps
    return {name: app for name, app in gateway.apps.items() if name in caller.apps}


def _copied(ticket: Json | None, token: Any) -> Json:
    """The ticket of the same message to the same device. An error has the token as this recipient wrote it."""
    assert ticket is not None
    if "details" not in ticket or not isinstance(token, str):
        return ticket
    return {**ticket, "details": {**ticket["details"], "expoPushToken": token}}


async def _deliver(
    gateway: Gateway, caller: Caller, request: Request, wanted: SendRequest, plan: Plan, app: App
) -> None:
    """Send the planned pushes, and fill in the tickets."""
    tickets, recipients = plan.tickets, wanted.recipients
    contents = Contents(wanted.contents, app.section.android, time.time())
    places: list[int] = []
    pushes: list[tuple[AppSender, Any]] = []
    senders: dict[tuple[Environment | None, str], AppSender] = {}
    for number, content, device in plan.devices:
        try:
            push = contents.push(content, device)
            _, kind, _, topic, environment = device
            way = (environment, topic if kind is TokenKind.APNS else "fcm")
            sender = senders.get(way)
            if sender is None:
                sender = senders[way] = _sender(app, device)
        except ValueError as error:
            tickets[number] = error_ticket("DeveloperError", str(error), recipients[number][1])
        except GatewayProblem as problem:
            tickets[number] = error_ticket("InvalidCredentials", problem.detail, recipients[number][1])
        else:
            places.append(number)
            pushes.append((sender, push))
    count = len(pushes) + len(plan.forwards)
    if count:
        caller.spend(count)
        request.scope["pushes"] = count
    if plan.forwards:
        _, results = await asyncio.gather(_forward(gateway, wanted, plan, app), send_all(caller.name, pushes))
    else:
        results = await send_all(caller.name, pushes)
    _fill(gateway, caller, app, tickets, places, results, recipients)


def _sender(app: App, device: AppDevice) -> AppSender:
    """The sender to a device. Raises `GatewayProblem` when the app has none."""
    if device.kind is TokenKind.APNS:
        return app.apns(device.environment, device.topic or None)
    return app.to_fcm()


def _fill(
    gateway: Gateway,
    caller: Caller,
    app: App,
    tickets: list[Json | None],
    places: list[int],
    results: list[Result],
    recipients: list[dialect.Recipient],
) -> None:
    accepted = [result.verdict for result in results].count(ACCEPTED)
    ids = gateway.sealing.receipts.new(accepted, app.id, caller.name, time.time(), os.urandom)
    receipts = iter(ids)
    for number, result in zip(places, results, strict=True):
        if result.verdict is ACCEPTED:
            tickets[number] = {"status": "ok", "id": next(receipts)}
        else:
            tickets[number] = ticket_of(result, recipients[number][1])


async def _forward(gateway: Gateway, wanted: SendRequest, plan: Plan, app: App) -> None:
    """Send pushes to tokens that Expo has issued to Expo, and fill in its tickets."""
    assert app.expo is not None
    places: list[int] = []
    messages: list[Json] = []
    for number, content, token in plan.forwards:
        source = wanted.contents[content]
        assert isinstance(source, dict)
        message = {**source, "to": token}
        try:
            orjson.dumps(message)
        except TypeError as error:  # nested more deeply than what can be written
            plan.tickets[number] = error_ticket(
                "DeveloperError", f"the message cannot be encoded as JSON: {error}", token
            )
        else:
            places.append(number)
            messages.append(message)
    for number, ticket in zip(places, await app.expo.send(messages, REQUEST), strict=True):
        plan.tickets[number] = ticket
        gateway.numbers.forwarded(app.id, outcome_of(ticket))


# --- receipts -------------------------------------------------------------------------------------------------------


async def get_receipts(gateway: Gateway, caller: Caller, request: Request) -> Response:
    """`POST /--/api/v2/push/getReceipts`: receipts of the gateway's ids, and Expo's receipts if pushes are forwarded to Expo."""
    document = dialect.read_json(await read_body(request, gateway.config.limits.body))
    ids = dialect.read_receipt_ids(document)
    apps = _apps_of(gateway, caller)
    known, foreign = dialect.receipts(ids, gateway.sealing.receipts, caller.name, apps, time.time())
    services = [app.expo for app in apps.values() if app.expo is not None] if foreign else []
    for found in await asyncio.gather(*(service.receipts(foreign, REQUEST) for service in services)):
        known.update(found)
    return _json(orjson.dumps({"data": known}))
