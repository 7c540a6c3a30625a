"""Errors of the gateway as RFC 9457 describes them: `application/problem+json`."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "urn:pushcore:problem:"
"""What the `type` of a problem begins with; its name follows."""


class GatewayProblem(Exception):
    """Why a whole request cannot be served.

    Args:
        status: of the response.
        name: what `type` ends with: "no-app", "too-large"; programs may compare it.
        detail: one sentence for people.
        retry_after: seconds, for the header of that name.
        members: more members of the object.
    """

    def __init__(
        self, status: int, name: str, detail: str, *, retry_after: float | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.retry_after = retry_after
        self.members = members

    def to_dict(self) -> dict[str, Any]:
        """The members of the problem."""
        return {
            **self.members,
            "type": TYPES + self.name,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def headers(self) -> dict[str, str]:
        """Headers of the response, beside its type."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(max(math.ceil(self.retry_after), 1))
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["www-authenticate"] = 'Bearer realm="pushcore"'
        return headers

    def response(self) -> Response:
        """The response."""
        return Response(
            orjson.dumps(self.to_dict()), self.status, headers=self.headers(), media_type=MEDIA_TYPE
        )
