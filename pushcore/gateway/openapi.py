"""`/openapi.json`: the document is made of the classes that check the requests, so it cannot say something else."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from ..reasons import Verdict
from .door import JsonResponse
from .expo.routes import API as EXPO
from .plain.batch import BatchRequest
from .plain.messages import PushRequest
from .problems import MEDIA_TYPE

_REF: Final = "#/components/schemas/{name}"


class PushResult(Struct, omit_defaults=True):
    """The result of one push. `detail`: a sentence. `advice`: what to do. `drop_token`: whether to delete the token."""

    verdict: Verdict
    status: int | None = None
    reason: str | None = None
    id: str | None = None
    timestamp: float | None = None
    retry_after: float | None = None
    attempts: int | None = None
    detail: str | None = None
    advice: str | None = None
    drop_token: bool | None = None
    ref: str | None = None


class BatchResults(Struct):
    """The results of a batch, in the order of its pushes."""

    results: list[PushResult]


class ProblemBody(Struct):
    """Why a request cannot be served (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def document(version: str) -> dict[str, Any]:
    """The OpenAPI document."""
    _, schemas = msgspec.json.schema_components(
        [PushRequest, BatchRequest, PushResult, BatchResults, ProblemBody], ref_template=_REF
    )
    pushes, _ = schemas["BatchRequest"]["properties"]["pushes"]["anyOf"]
    pushes["items"] = _schema("PushRequest")  # whose bytes are decoded one by one, so that one can be wrong
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pushcore gateway",
            "version": version,
            "description": "Pushes to APNs and FCM, each with its provider's verdict.",
        },
        "paths": {
            "/v1/push": _post(
                "push", "Send one push; its result is the response.", "PushRequest", "PushResult"
            ),
            "/v1/push/batch": _post("batch", "Send up to 1000 pushes.", "BatchRequest", "BatchResults"),
            "/v1/push/stream": _stream(),
            **{EXPO + name: _expo(name) for name in ("send", "getReceipts", "getExpoPushToken")},
            "/healthz": _get("healthz", "Whether the process is alive."),
            "/readyz": _get("readyz", "Whether any provider is reachable, and the state of each.", "503"),
            "/metrics": _get("metrics", "Metrics for Prometheus."),
            "/openapi.json": _get("openapi", "This document."),
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _schema(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _content(name: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"content": {media_type: {"schema": _schema(name)}}}


def _problems() -> dict[str, Any]:
    return {
        status: {"description": "the request cannot be served", **_content("ProblemBody", MEDIA_TYPE)}
        for status in ("4XX", "503")
    }


def _post(operation: str, text: str, body: str, result: str) -> dict[str, Any]:
    return {
        "post": {
            "operationId": operation,
            "description": text,
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "A repeat with the same key and body gets the same response; nothing is sent again.",
                    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                }
            ],
            "requestBody": {"required": True, **_content(body)},
            "responses": {"200": {"description": "the results", **_content(result)}, **_problems()},
        }
    }


def _stream() -> dict[str, Any]:
    return {
        "post": {
            "operationId": "stream",
            "description": "NDJSON in, a push in each line; NDJSON out, a result in each line with the number of its push "
            "as `line`, as they complete; the last line has `done`.",
            "parameters": [
                {
                    "name": "app",
                    "in": "query",
                    "description": "The app of lines without `app`.",
                    "schema": {"type": "string"},
                }
            ],
            "requestBody": {
                "required": True,
                "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
            },
            "responses": {
                "200": {
                    "description": "the results",
                    "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
                },
                **_problems(),
            },
        }
    }


def _expo(name: str) -> dict[str, Any]:
    """Expo's own page describes its bodies; both are JSON."""
    return {
        "post": {
            "operationId": name,
            "description": f"Expo's `{name}`: see docs.expo.dev, Sending notifications.",
            **({"security": []} if name == "getExpoPushToken" else {}),
            "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
            "responses": {
                status: {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
                for status, text in (("200", "data"), ("4XX", "errors"), ("503", "errors"))
            },
        }
    }


def _get(operation: str, text: str, *others: str) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "description": text,
            "security": [],
            "responses": {status: {"description": text} for status in ("200", *others)},
        }
    }


class OpenApi:
    """The endpoint, with the document encoded once.

    Args:
        version: of pushcore.
    """

    def __init__(self, version: str) -> None:
        self._body = orjson.dumps(document(version))

    async def respond(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        return JsonResponse(self._body)
