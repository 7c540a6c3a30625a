"""The headers of a request as a dict: they are looked up several times, and Starlette searches a list each time."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import Scope

_FIELDS: Final = "pushcore.fields"
"""The key in the scope."""


def fields_of(scope: Scope) -> dict[bytes, bytes]:
    """The headers by their names in lower case; of several the last one."""
    fields: dict[bytes, bytes] | None = scope.get(_FIELDS)
    if fields is None:
        fields = scope[_FIELDS] = dict(scope["headers"])
    return fields


def field_of(request: Request, name: bytes) -> bytes | None:
    """A header of the request."""
    scope = request.scope
    fields: dict[bytes, bytes] = scope.get(_FIELDS) or fields_of(scope)
    return fields.get(name)
