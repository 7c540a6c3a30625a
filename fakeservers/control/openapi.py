"""The control port's OpenAPI document (3.1), made of the table of its calls."""

from __future__ import annotations

from typing import Any

from fakeservers.control.route import Route
from fakeservers.control.routes import ROUTES

PROBLEM_TYPE = "application/problem+json"
PROBLEMS = {
    400: "A parameter or the body is not what it must be.",
    401: "The token is missing or wrong.",
    403: "The request comes from another origin.",
    404: "There is no such thing.",
    405: "Not this method.",
    408: "The body did not come in time.",
    409: "It cannot be done as things are.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    421: "The Host header names another server.",
    503: "Too many pages look on, or a process has ended.",
}
_ALWAYS = (400, 401, 403, 421)
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}


def document(server: str) -> dict[str, Any]:
    """The document; `server` is the URL of this control port."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Control port of the fake APNs and FCM",
            "version": "1",
            "description": "Errors are problem documents (RFC 9457). Requests of other origins are refused.",
        },
        "servers": [{"url": server}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    statuses = {*_ALWAYS}
    if route.parameters or route.method == "POST":
        statuses |= {404, 409}
    if route.tag in ("apns", "fcm"):
        statuses |= {404, 409}
    if route.body is not None:
        statuses |= {408, 413, 415}
    statuses.add(503)
    good: dict[str, Any] = {"description": "Done."}
    if route.status != 204:
        json = {"type": "object"} if route.media == "application/json" else {"type": "string"}
        good["content"] = {route.media: {"schema": json}}
    problem = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in route.parameters.items()
        ]
        + [{"name": name, "in": "query", "schema": schema} for name, schema in route.query.items()],
        "responses": {
            str(route.status): good,
            **{str(each): {"description": PROBLEMS[each], "content": problem} for each in sorted(statuses)},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.body}}}
    return operation
