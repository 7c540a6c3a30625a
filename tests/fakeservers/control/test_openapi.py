"""The control port's OpenAPI document is valid, complete, and what really happens."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from fakeservers import Control, ControlService, FakeApns, FakeFcm
from fakeservers.control.openapi import document
from fakeservers.control.route import Route
from fakeservers.control.routes import ROUTES
from fakeservers.control.schema import Problem, check
from tests.fakeservers.control_client import ask, scene

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


async def test_the_document_is_valid_and_served() -> None:
    async with scene() as each:
        served = (await each.ask("GET", "/openapi.json")).json
        assert served == document(each.control.url)
    OpenAPIV31SpecValidator(served).validate()
    names = [operation["operationId"] for path in served["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names)) == len(ROUTES)


def test_every_call_has_a_method_behind_it() -> None:
    service = ControlService()
    for route in ROUTES:
        assert route.own or any(hasattr(part, route.name) for part in service._parts)


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    """Values that fit a schema of the table."""
    if "anyOf" in schema:
        return st.one_of(*(fitting(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "string":
            longest = min(schema.get("maxLength", 20), 40)
            if "pattern" in schema:
                return st.from_regex(re.compile(schema["pattern"], re.ASCII), fullmatch=True).filter(
                    lambda text: len(text) <= longest
                )
            return st.text(min_size=1, max_size=longest)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(fitting(schema["items"]), min_size=schema.get("minItems", 0), max_size=3)
        case "object":
            properties = (
                {name: fitting(each) if each else JSON for name, each in schema["properties"].items()}
                if "properties" in schema
                else {}
            )
            needed = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: each for name, each in properties.items() if name in needed},
                optional={name: each for name, each in properties.items() if name not in needed},
            )
    return JSON


@st.composite
def requests(draw: st.DrawFn) -> tuple[Route, str, Any]:
    """A call of the table, with arguments that fit or that are anything."""
    route = draw(st.sampled_from([each for each in ROUTES if each.name != "events"]))
    path = route.path
    for name, schema in route.parameters.items():
        value = draw(fitting(schema) | st.text(min_size=1, max_size=20))
        path = path.replace("{" + name + "}", quote(value, safe=""))
    query = {
        name: draw(fitting(schema) | st.text(max_size=10))
        for name, schema in route.query.items()
        if draw(st.booleans())
    }
    if query:
        path += "?" + urlencode(query, errors="replace")
    return route, path, None if route.body is None else draw(fitting(route.body) | JSON)


def test_whatever_is_asked_is_answered_as_documented() -> None:
    """One pair of fakes for all examples: nothing that is asked may break it for the next."""
    with asyncio.Runner() as runner:

        async def start() -> tuple[Any, ...]:
            apns = await FakeApns().__aenter__()
            fcm = await FakeFcm(certs=apns.certs).__aenter__()
            return apns, fcm, await Control(ControlService(apns, fcm)).__aenter__()

        apns, fcm, control = runner.run(start())
        operations = document(control.url)["paths"]

        @settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
        @given(requests())
        def try_it(request: tuple[Route, str, Any]) -> None:
            route, path, body = request
            answer = runner.run(ask(control, route.method, path, body))
            documented = operations[route.path][route.method.lower()]["responses"]
            if "." in path or "%2F" in path:  # a path of dots or with a slash is another path: 404, or 405
                assert answer.status < 500
                return
            assert str(answer.status) in documented
            if answer.status >= 400:
                assert answer.detail
            elif answer.status != 204 and route.media == "application/json":
                assert isinstance(answer.json, dict)

        try:
            try_it()
            assert runner.run(ask(control, "GET", "/v1/state")).status == 200
        finally:
            for each in (control, fcm, apns):
                runner.run(each.__aexit__(None, None, None))


@pytest.mark.parametrize(
    ("value", "schema", "complaint"),
    [
        (True, {"type": "integer"}, "x is True, not a whole number"),
        (1.0, {"type": "integer"}, "x is 1.0, not a whole number"),
        (float("inf"), {"type": "number"}, "x is inf, not a number"),
        ("a\n", {"type": "string", "pattern": "^a$"}, "x is 'a\\n', which does not match ^a$"),
        ("é" * 100, {"enum": ["a"]}, "which is none of a"),
        ({"a": 1}, {"type": "object", "maxProperties": 0}, "x has 1 fields, more than 0"),
        ([[1]], {"items": {"items": {"type": "string"}}}, "x[0][0] is 1, not a string"),
    ],
)
def test_what_does_not_fit(value: Any, schema: Any, complaint: str) -> None:
    with pytest.raises(Problem) as caught:
        check(value, schema, "x")
    assert complaint in caught.value.detail
    assert len(caught.value.detail) < 200
    assert caught.value.detail.isprintable()
