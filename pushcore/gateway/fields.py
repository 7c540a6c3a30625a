"""The headers of a request as a dict: they are looked up several times, and Starlette searches a list each time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

FAULT: Final = "pushcore.fault"
"""In the scope of a request that the server has read and that must not be served: why, in one sentence."""
_FIELDS: Final = "pushcore.fields"
"""The key in the scope."""
_SINGLE: Final = (b"host", b"authorization", b"content-encoding", b"idempotency-key")
"""Headers that decide what is done: a proxy in front may have used the first one where the gateway uses the last."""
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""RFC 9110, section 7.2; an empty one is allowed."""

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""


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


def fault_of(scope: Scope) -> str | None:
    """Why a request must not be served because of its headers; None if it may be."""
    fault: str | None = scope.get(FAULT)
    headers: Headers = scope["headers"]
    if fault is None and len(fields_of(scope)) != len(headers):
        names = [name for name, _ in headers]
        for name in _SINGLE:
            if names.count(name) > 1:
                return f"the request has more than one {name.decode().title()} header; expected one"
    return fault


def fault_of_http1(version: str, fields: dict[bytes, bytes]) -> str | None:
    """Why a request of HTTP/1 must not be served (RFC 9112, sections 2.5, 3.2 and 6.1); None if it may be.

    Args:
        version: of HTTP, such as "1.1".
        fields: the headers.
    """
    host, coding = fields.get(b"host"), fields.get(b"transfer-encoding")
    if version != "1.1" and version != "1.0":
        return f"the version of the request is HTTP/{version}; expected HTTP/1.1"
    if host is None and version == "1.1":
        return "the request has no Host header; expected one"
    if host is not None and _HOST.fullmatch(host) is None:
        return "the Host header is invalid; expected HOST or HOST:PORT"
    if coding is not None and (version == "1.0" or coding.strip().lower() != b"chunked"):
        return "the Transfer-Encoding is not supported; expected chunked in a request of HTTP/1.1"
    return None
