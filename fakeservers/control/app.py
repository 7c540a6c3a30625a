"""The control port as an ASGI application: FastAPI with the calls, and every error as a problem document (RFC 9457).

FastAPI (MIT) brings Starlette and Pydantic (MIT): one declaration of a call is its route, its check, its response and its
part of the OpenAPI document. Imported only when a control port is opened.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from fakeservers.control.calls import ROUTERS, Fakes
from fakeservers.control.guard import PROBLEM_TYPE, problem_response
from fakeservers.control.problem import Problem, shown
from fakeservers.control.responses import ProblemDocument

_log = logging.getLogger("fakeservers.control")

_PROBLEM = {"content": {PROBLEM_TYPE: {"schema": ProblemDocument.model_json_schema()}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {
        **_PROBLEM,
        "description": "400: a parameter or the body is not what it must be. 401: the token is missing or wrong. 403: the "
        "request comes from another origin. 404: there is no such thing. 405: not this method. 408: the body did not come in "
        "time. 409: it cannot be done as things are. 413: the body is too large. 415: the body is not JSON. 421: the Host "
        "header names another server.",
    },
    "503": {**_PROBLEM, "description": "Too many pages look on, or a process has ended."},
}
_WHERE = {"body": "the body", "query": "", "path": ""}


def make_app(fakes: Fakes, *, with_token: bool) -> FastAPI:
    """The application. `with_token`: its document says that requests need one; the guard in front of it checks."""
    app = FastAPI(
        title="Control port of the fake APNs and FCM",
        version="1",
        description="Errors are problem documents (RFC 9457). Requests of other origins are refused.",
        docs_url=None,  # their pages load scripts from other hosts
        redoc_url=None,
        responses=_PROBLEMS,
        dependencies=[Depends(HTTPBearer(auto_error=False))] if with_token else [],
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.fakes = fakes
    for router in ROUTERS:
        app.include_router(router)
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
                app.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)
    for kind, handler in (
        (Problem, _problem),
        (RequestValidationError, _invalid),
        (HTTPException, _refused),
        (Exception, _internal_error),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # starlette's type has no handlers of a subclass of Exception
    return app


async def _problem(request: Request, problem: Problem) -> Response:
    return problem_response(problem)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    """The first error of Pydantic, in one sentence."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem_response(Problem(400, f"the body is not JSON: {shown(first['ctx']['error'])}"))
    part, *inner = first["loc"]
    where = _WHERE[part]
    for key in inner:
        where += f"[{key}]" if isinstance(key, int) else f".{key if key.isidentifier() else shown(key)}"
    given = "" if first["type"] == "missing" else f" is {shown(first['input'])}"
    return problem_response(Problem(400, f"{where.removeprefix('.')}{given}: {first['msg']}"))


async def _refused(request: Request, error: HTTPException) -> Response:
    """Errors of Starlette: unknown paths and methods."""
    details = {404: "there is nothing here; /openapi.json says what there is", 405: "not with this method"}
    detail = details.get(error.status_code, HTTPStatus(error.status_code).phrase)
    response = problem_response(Problem(error.status_code, detail))
    if error.status_code == 405:  # Starlette names the methods of the first route of this path alone
        response.headers["allow"] = ", ".join(sorted(_methods_of(request)))
    return response


def _methods_of(request: Request) -> set[str]:
    routes = [*request.app.routes, *(route for router in ROUTERS for route in router.routes)]
    matching = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


async def _internal_error(request: Request, error: Exception) -> Response:
    _log.error("a call of the control port failed", exc_info=error)
    return problem_response(Problem(500, "this is a mistake in the fake servers"))
