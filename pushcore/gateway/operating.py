"""What operators ask: is it alive, is it ready, what are its numbers."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response


async def healthz(request: Request) -> Response:
    """`GET /healthz`: alive, whatever the providers do."""
    return JSONResponse({"status": "alive"})
