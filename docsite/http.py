"""The HTTP calls of the control port and of the gateway, from their OpenAPI documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pushcore
from docsite.markdown import table
from fakeservers.control.app import make_app
from fakeservers.control.calls import Fakes
from pushcore.gateway.openapi import document


def control_port() -> str:
    """The page of the control port. No call is made, so it needs no fakes."""
    app = make_app(cast(Fakes, None), with_token=True)
    return http_page("HTTP of the control port", app.openapi())


def gateway() -> str:
    """The page of the gateway."""
    return http_page("HTTP of the gateway", document(pushcore.__version__))


def http_page(title: str, document: Mapping[str, Any]) -> str:
    """A page of any OpenAPI document: each call with its parameters, its body and its responses, then each schema."""
    parts = [f"# {title}\n", f"{document['info'].get('description', '')}\n"]
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            parts += [
                f"## {method.upper()} {path}\n",
                f"{call.get('description') or call.get('summary', '')}\n",
            ]
            fields = [*_parameters(call), *_body(call)]
            if fields:
                parts.append(table(("field", "in", "type", "meaning"), fields))
            parts.append(table(("status", "response"), list(_responses(call))))
    schemas = document.get("components", {}).get("schemas", {})
    if schemas:
        parts.append("## Schemas\n")
    for name, schema in schemas.items():
        parts += [f"### {name}\n", f"{schema.get('description', '')}\n"]
        rows = [
            (
                f"`{field}`",
                _type(value),
                _sentence(value),
                "yes" if field in schema.get("required", ()) else "no",
            )
            for field, value in schema.get("properties", {}).items()
        ]
        if rows:
            parts.append(table(("field", "type", "meaning", "always there"), rows))
    return "\n".join(parts)


def _parameters(call: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for parameter in call.get("parameters", ()):
        schema = parameter.get("schema", {})
        yield (
            f"`{parameter['name']}`",
            parameter["in"],
            _type(schema),
            parameter.get("description") or _sentence(schema),
        )


def _body(call: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, content in call.get("requestBody", {}).get("content", {}).items():
        yield (
            "the body",
            f"`{kind}`",
            _type(content.get("schema", {})),
            call["requestBody"].get("description", ""),
        )


def _responses(call: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for status, response in call.get("responses", {}).items():
        kinds = [
            f"{_type(content['schema'])}, `{kind}`"
            for kind, content in response.get("content", {}).items()
            if "schema" in content and "$defs" not in content["schema"]
        ]
        yield status, " ".join([response.get("description", "").rstrip("."), *kinds]) + "."


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(one) for one in schema[several]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _sentence(schema: Mapping[str, Any]) -> str:
    return str(schema.get("description", ""))
