"""Errors of the gateway as RFC 9457 describes them: `application/problem+json`."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
TYPES: Final = "urn:pushcore:problem:"
"""What the `type` of a problem begins with; its name follows."""


_TYPES: Final = re.compile(
    r"(?:(?<=xpected )|(?<=, got ))`((?:str|int|float|bool|array|object|null)(?: \| \w+)*)`"
)
_IN_WORDS: Final = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


def in_words(sentence: str) -> str:
    """A sentence of msgspec with JSON's words for the types, where it has Python's: its reader may know no Python."""
    return _TYPES.sub(
        lambda match: " or ".join(_IN_WORDS.get(name, name) for name in match[1].split(" | ")), sentence
    )


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
