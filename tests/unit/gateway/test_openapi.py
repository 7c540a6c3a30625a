"""The document says what the application serves."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.gateway.openapi import document
from tests.support.virtual_gateway import Providers, VirtualClient, serve


def test_every_route_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Providers(monkeypatch)

    async def work(client: VirtualClient) -> None:
        routes: Any = client.app.routes
        served = {(route.path, method.lower()) for route in routes for method in route.methods - {"HEAD"}}
        reply = await client.get("/openapi.json")
        assert reply.headers["content-type"] == "application/json"
        paths = reply.json()["paths"]
        assert {(path, method) for path, methods in paths.items() for method in methods} == served

    serve(work)


def test_requests_are_the_classes_that_check_them() -> None:
    made = document("1.2.3")
    assert made["info"]["version"] == "1.2.3"
    schemas = made["components"]["schemas"]
    assert schemas["PushRequest"]["required"] == ["payload"]
    assert schemas["PushRequest"]["additionalProperties"] is False
    pushes, nothing = schemas["BatchRequest"]["properties"]["pushes"]["anyOf"]
    assert (pushes["items"], pushes["maxItems"]) == ({"$ref": "#/components/schemas/PushRequest"}, 1000)
    assert nothing == {"type": "null"}
    operations = [operation for methods in made["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    anonymous = {operation["operationId"] for operation in operations if operation.get("security") == []}
    assert anonymous == {"healthz", "readyz", "metrics", "openapi", "getExpoPushToken"}
