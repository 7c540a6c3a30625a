"""Values checked against the JSON Schemas that the control port publishes: what its OpenAPI says is what it does.

Only the keywords that `route` uses are known: type, enum, pattern, minLength, maxLength, minimum, maximum,
items, minItems, maxItems, properties, required, additionalProperties, maxProperties, anyOf.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

_SHOWN = 60
"""Characters of a caller's value that an error repeats."""
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_ARTICLES = {"object": "an object", "array": "a list", "integer": "a whole number", "null": "null"}


class Problem(Exception):
    """A request that cannot be served: an HTTP status and one sentence, sent as RFC 9457 has it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def check(value: Any, schema: Schema, where: str) -> None:
    """Do nothing when the value fits the schema.

    Raises:
        Problem: 400, and says where it does not.
    """
    complaint = _complaint(value, schema, where)
    if complaint:
        raise Problem(400, complaint)


def parse(text: str, schema: Schema, where: str) -> Any:
    """The value of a query or path parameter, which comes as text.

    Raises:
        Problem: 400, it does not fit the schema.
    """
    value: Any = text
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        value = int(text)
    elif kind == "number" and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        value = float(text)
    elif kind == "boolean" and text in ("true", "false"):
        value = text == "true"
    check(value, schema, where)
    return value


def shown(value: Any) -> str:
    """A caller's value as an error may repeat it: short, ASCII, on one line."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _complaint(value: Any, schema: Schema, where: str) -> str:
    if "anyOf" in schema:
        found = [_complaint(value, each, where) for each in schema["anyOf"]]
        return "" if "" in found else found[-1]
    kind = schema.get("type")
    if kind is not None and not _is(value, kind):
        return f"{where} is {shown(value)}, not {_ARTICLES.get(kind, f'a {kind}')}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is {shown(value)}, which is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str):
        return _of_string(value, schema, where)
    if isinstance(value, dict):
        return _of_object(value, schema, where)
    if isinstance(value, list):
        return _of_list(value, schema, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        if not low <= value <= high:
            return f"{where} is {shown(value)}, not from {low} to {high}"
    return ""


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "number" and isinstance(value, float):
        return math.isfinite(value)
    if kind == "integer" and isinstance(value, float):  # JSON Schema: 1.0 is an integer too
        return False
    return isinstance(value, _TYPES[kind])


def _of_string(value: str, schema: Schema, where: str) -> str:
    low, high = schema.get("minLength", 0), schema.get("maxLength", math.inf)
    if not low <= len(value) <= high:
        return f"{where} has {len(value)} characters, not {low} to {high}"
    # Every pattern is anchored at both ends; Python's `$` alone would let a line feed pass at the end.
    if "pattern" in schema and re.fullmatch(schema["pattern"][1:-1], value, re.ASCII) is None:
        return f"{where} is {shown(value)}, which does not match {schema['pattern']}"
    return ""


def _of_object(value: dict[str, Any], schema: Schema, where: str) -> str:
    if len(value) > schema.get("maxProperties", math.inf):
        return f"{where} has {len(value)} fields, more than {schema['maxProperties']}"
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{where} lacks {name}"
    for name, each in value.items():
        if name in known:
            complaint = _complaint(each, known[name], f"{where}.{name}")
            if complaint:
                return complaint
        elif schema.get("additionalProperties", True) is False:
            return f"{where} has a field {shown(name)}, and may have {', '.join(known) or 'none'}"
    return ""


def _of_list(value: list[Any], schema: Schema, where: str) -> str:
    low, high = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if not low <= len(value) <= high:
        return f"{where} has {len(value)} items, not {low} to {high}"
    for at, each in enumerate(value):
        complaint = _complaint(each, schema.get("items", {}), f"{where}[{at}]")
        if complaint:
            return complaint
    return ""
