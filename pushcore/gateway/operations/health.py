"""What operators ask: is it alive, is it ready, what are its numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ..door import gateway_of
from ..senders import AppSender


async def healthz(request: Request) -> Response:
    """`GET /healthz`: alive, whatever the providers do."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def readyz(request: Request) -> Response:
    """`GET /readyz`: 200 while it takes pushes for some provider, else 503; the body says it of each app and provider.

    A provider is not ready while no connection to it can be made, or there is no access token. One that has had no push
    yet is ready: connections are made when they are needed. Breakers are of callers, and shown without making it unready.
    """
    gateway = gateway_of(request)
    apps: dict[str, list[dict[str, Any]]] = {}
    senders = [sender for app in gateway.apps.values() for sender in app.senders]
    for sender in senders:
        apps.setdefault(sender.app, []).append(_state(sender))
    ready = not gateway.ending and any(sender.ready for sender in senders)
    body = {"status": "ending" if gateway.ending else "ready" if ready else "not ready", "apps": apps}
    return Response(orjson.dumps(body), 200 if ready else 503, media_type="application/json")


def _state(sender: AppSender) -> dict[str, Any]:
    state: dict[str, Any] = {
        "provider": sender.provider,
        "ready": sender.ready,
        "connections": sender.connections,
        "queued": sender.queued,
        "breakers_open": len(sender.open_breakers),
    }
    if sender.environment:
        state["environment"] = sender.environment
    if sender.problem:
        state["problem"] = sender.problem
    if sender.token_age is not None:
        state["token_age"] = round(sender.token_age)
    if sender.client.expiries:
        state["expires"] = {
            credential: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for credential, at in sender.client.expiries.items()
        }
    return state


async def metrics(request: Request) -> Response:
    """`GET /metrics`: for Prometheus, in OpenMetrics where it is asked for."""
    content, media_type = gateway_of(request).numbers.exposition(request.headers.get("accept", ""))
    return Response(content, headers={"content-type": media_type})
