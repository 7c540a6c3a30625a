"""`create_app`: the ASGI application. It serves by itself under uvicorn, and can be mounted in another application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import plain
from .config import GatewayConfig
from .door import guarded
from .gateway import Gateway
from .operating import healthz
from .problems import GatewayProblem


def create_app(config: GatewayConfig) -> Starlette:
    """The gateway as an ASGI application.

    Its clients are opened by the lifespan. An application that mounts it must enter that of this one as well:
    `async with app.router.lifespan_context(app)`.

    Args:
        config: as `read_config` gives it, or made in code.

    Raises:
        BadInput, ConfigurationError: the configuration cannot work.
    """
    config.check()
    gateway = Gateway(config)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            await gateway.open()
            yield
        finally:
            await gateway.close()

    app = Starlette(
        routes=[
            Route("/v1/push", guarded(plain.push), methods=["POST"]),
            Route("/v1/push/batch", guarded(plain.batch), methods=["POST"]),
            Route("/healthz", healthz),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_problem},
    )
    app.state.gateway = gateway
    return app


async def _http_problem(request: Request, error: Exception) -> Response:
    """What Starlette rejects by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    names = {
        404: ("not-found", "there is nothing at this path"),
        405: ("method", "this path has no such method"),
    }
    name, detail = names.get(error.status_code, ("http", "the request cannot be served"))
    response = GatewayProblem(error.status_code, name, detail).response()
    response.headers.update(error.headers or {})
    return response
