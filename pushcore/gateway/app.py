"""`create_app`: the ASGI application. It serves by itself under uvicorn, and can be mounted in another application."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .config import GatewayConfig
from .door import Guarded
from .expo.routes import routes as expo_routes
from .gateway import Gateway
from .openapi import OpenApi
from .operations.access import AccessLog
from .operations.health import healthz, metrics, readyz
from .plain.batch import batch
from .plain.pushes import push
from .plain.stream import StreamEndpoint
from .problems import GatewayProblem


def create_app(config: GatewayConfig) -> Starlette:
    """The gateway as an ASGI application.

    Its lifespan opens the clients. An application that mounts it must enter this lifespan, too:
    `async with app.router.lifespan_context(app)`.

    Args:
        config: the result of `read_config`, or made in code.

    Returns:
        The application.

    Raises:
        BadInput: the configuration, or a file that it names, is wrong.
        ConfigurationError: a key or certificate cannot be used.
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

    routes = [
        Route("/v1/push", Guarded(push), methods=["POST"]),
        Route("/v1/push/batch", Guarded(batch), methods=["POST"]),
        Route("/v1/push/stream", StreamEndpoint(), methods=["POST"]),
        *expo_routes(),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
        Route("/openapi.json", OpenApi(version("pushcore")).respond),
    ]
    app = GatewayApp(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_problem},
    )
    # Behind a proxy a redirect would name another scheme, and not every client follows one.
    app.router.redirect_slashes = False
    app.state.gateway = gateway
    return app


class GatewayApp(Starlette):
    """Starlette with the access log around everything, which calls the endpoints of pushes itself."""

    def build_middleware_stack(self) -> ASGIApp:
        """See `Starlette`. Middleware that an embedding program has added sees every request."""
        gateway: Gateway = self.state.gateway
        endpoints = {
            route.path: route.endpoint
            for route in self.routes
            if isinstance(route, Route) and isinstance(route.endpoint, Guarded)
        }
        return AccessLog(
            super().build_middleware_stack(),
            gateway.numbers,
            frozenset(route.path for route in self.routes if isinstance(route, Route)),
            enabled=gateway.config.server.access_log,
            endpoints={} if self.user_middleware else endpoints,
        )


async def _http_problem(request: Request, error: Exception) -> Response:
    """The response to what Starlette rejects by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    names = {
        404: ("not-found", "there is nothing at this path"),
        405: ("method", "this path does not support this method"),
    }
    name, detail = names.get(error.status_code, ("http", "the request cannot be served"))
    response = GatewayProblem(error.status_code, name, detail).response()
    response.headers.update(error.headers or {})
    return response
