"""The control port's OpenAPI document is valid, complete, and what really happens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fakeservers import Control, ControlService, FakeApns, FakeFcm, InThread
from fakeservers.control import service
from tests.fakeservers.control_client import ask, ask_now, scene

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 10
DEADLINE = 500
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


async def test_the_document_is_valid_and_says_what_every_call_takes_and_gives() -> None:
    async with scene() as running:
        document = (await running.ask("GET", "/openapi.json")).json
        assert document["servers"] == [{"url": running.control.url}]
    OpenAPIV31SpecValidator(document).validate()
    listed = operations(document)
    names = [operation["operationId"] for _, _, operation in listed]
    assert len(names) == len(set(names)) == 33
    for method, path, operation in listed:
        assert operation["description"], path
        responses = operation["responses"]
        assert "422" not in responses  # FastAPI's own; ours is a 400
        assert set(responses["4XX"]["content"]) == {"application/problem+json"}
        (status,) = set(responses) - {"4XX", "503"}
        if status == "204":
            assert "content" not in responses[status]
            continue
        (schema,) = (kind["schema"] for kind in responses[status]["content"].values())
        assert schema == {"type": "string"} or schema["$ref"].startswith("#/components/schemas/"), path
        assert ("requestBody" in operation) == (method in ("POST", "PUT", "PATCH")), path


async def test_with_a_token_the_document_says_that_it_is_needed() -> None:
    token = "a-token-of-some-length"
    async with FakeApns() as apns, Control(ControlService(apns), token=token) as control:
        headers = {"Authorization": f"Bearer {token}"}
        document = (await ask(control, "GET", "/openapi.json", headers=headers)).json
    assert document["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert all(operation["security"] == [{"HTTPBearer": []}] for _, _, operation in operations(document))


async def test_a_method_that_a_path_does_not_have_is_answered_with_those_that_it_has() -> None:
    async with scene() as running:
        document = (await running.ask("GET", "/openapi.json")).json
        for path, methods in document["paths"].items():
            if "{" in path:
                continue
            expected = {method.upper() for method in methods} | ({"HEAD"} if "get" in methods else set())
            for method in {"TRACE", "OPTIONS", "BREW", *METHODS} - expected:
                answer = await running.ask(method, path)
                assert answer.status == 405, (method, path)
                assert answer.headers["allow"] == ", ".join(sorted(expected))
        for path, allowed in (("/", "GET, HEAD"), ("/session", "POST"), ("/openapi.json", "GET, HEAD")):
            answer = await running.ask("TRACE", path)
            assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert (await running.ask("TRACE", "/v1/nothing")).status == 404


async def test_head_is_answered_as_get_without_the_body() -> None:
    async with scene() as running:
        for path in ("/v1/state", "/v1/counters", "/v1/received?limit=1", "/v1/events", "/metrics", "/"):
            answer = await running.ask("HEAD", path)
            assert (answer.status, answer.body) == (200, b"")


async def test_a_response_that_is_not_as_documented_is_a_mistake_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service.ControlService, "keys", lambda self: {"keys": [], "secret": "x"})
    async with scene() as running:
        answer = await running.ask("GET", "/v1/apns/keys")
        assert (answer.status, answer.detail) == (500, "this is a mistake in the fake servers")
    assert "a call of the control port failed" in caplog.text


def test_without_a_control_port_its_libraries_are_not_imported() -> None:
    """They take longer to import than a fake takes to start."""
    code = (
        "import sys, fakeservers.__main__, fakeservers.pytest_plugin\n"
        "from fakeservers import ControlService, FakeApns, FakeFcm, InThread\n"
        "with InThread(FakeApns), InThread(FakeFcm): pass\n"
        "loaded = {'fastapi', 'pydantic', 'prometheus_client', 'starlette', 'uvicorn'} & {*sys.modules}\n"
        "sys.exit(f'imported: {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@asynccontextmanager
async def everything() -> AsyncIterator[Control]:
    async with (
        FakeApns() as apns,
        FakeFcm(certs=apns.certs) as fcm,
        Control(ControlService(apns, fcm)) as control,
    ):
        yield control


@pytest.mark.ci
@pytest.mark.timeout(DEADLINE + 60)
def test_whatever_is_asked_is_answered_as_documented(tmp_path: Path) -> None:
    """Schemathesis: what the document allows is accepted, what it does not is refused, as documented, and never with 5xx."""
    with InThread(everything) as running:
        url = running.fake.url
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--no-color",
            "--config-file",
            str(CONFIG),
            "run",
        ]
        command += [f"{url}/openapi.json", "--exclude-path", "/v1/events"]  # which does not end
        command += ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES)]
        command += ["--request-timeout", "30", "--generation-deterministic"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "Tested: 32" in done.stdout
        assert ask_now(url, "GET", "/v1/state").status == 200
