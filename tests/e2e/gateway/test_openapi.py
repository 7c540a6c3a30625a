"""The gateway's OpenAPI document is valid and complete, and whatever is asked is answered as it says, never with 500."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from fakeservers import FakeApns, FakeFcm, InThread
from tests.support.gateway import TOKEN, app_section, config_of, fakes_and_gateway, serving

DEADLINE = 300
EXAMPLES = 15


async def test_the_document_is_valid_and_has_every_route() -> None:
    async with fakes_and_gateway() as (_, _, client):
        document = (await client.http.get("/openapi.json")).json()
        OpenAPIV31SpecValidator(document).validate()
        routes = {route.path for route in client.gateway_routes}
        assert document["paths"].keys() == routes
        assert document["components"]["schemas"]["PushRequest"]["additionalProperties"] is False


@asynccontextmanager
async def serving_both() -> AsyncIterator[int]:
    """A gateway on fakes; its port."""
    async with (
        FakeApns() as apns,
        FakeFcm(certs=apns.certs) as fcm,
        serving(config_of(app_section(apns, fcm))) as port,
    ):
        yield port


@pytest.mark.ci
@pytest.mark.timeout(DEADLINE + 60)
def test_every_request_is_answered_as_documented(tmp_path: Path) -> None:
    """Schemathesis: what the document allows and what it does not, to every endpoint, and never a 500."""
    with InThread(serving_both) as running:
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run"]
        command += [f"http://127.0.0.1:{running.fake}/openapi.json", "-H", f"Authorization: Bearer {TOKEN}"]
        command += [
            "--phases",
            "examples,coverage,fuzzing",
            "--max-examples",
            str(EXAMPLES),
            "--generation-deterministic",
        ]
        command += [
            "--checks",
            "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
        ]
        # It has no serializer for NDJSON: `test_a_stream_of_anything` has lines of all kinds.
        command += ["--request-timeout", "30", "--exclude-path", "/v1/push/stream"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


KEYS = (
    "to",
    "payload",
    "app",
    "platform",
    "format",
    "priority",
    "ref",
    "topic",
    "validate_only",
    "channel",
    "x",
)


def value(rng: Random, depth: int = 0) -> Any:
    """Some JSON."""
    if depth < 3 and rng.random() < 0.3:
        keys = rng.sample(
            ("aps", "title", "fcm", "apns", "notification", "data", "message", "to", "_"), rng.randrange(3)
        )
        return {key: value(rng, depth + 1) for key in keys}
    if depth < 3 and rng.random() < 0.1:
        return [value(rng, depth + 1)]
    return rng.choice(
        [None, True, 0, -1, 1.5, 2**70, "", "ab" * 32, "shop", "ios", "\ud7ff\x00", "ExpoPushToken[x]"]
    )


def line(rng: Random) -> bytes:
    """A line without its end: JSON that is near to a push, or anything."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(40)).replace(b"\n", b" ")
    fields = {key: value(rng) for key in rng.sample(KEYS, rng.randrange(5))}
    return json.dumps({"to": "ab" * 32, "payload": {"aps": value(rng)}, **fields}).encode()


async def test_a_stream_of_anything_has_a_result_for_every_line() -> None:
    """Lines of all kinds, in requests cut anywhere: each has one result, and no text of ours says that we failed."""
    async with fakes_and_gateway() as (_, _, client):
        rng = Random(8)
        lines = [line(rng) for _ in range(2000)]
        response = await client.post("/v1/push/stream", b"\n".join(lines))
        assert response.status_code == 200
        *results, last = [orjson.loads(line) for line in response.text.splitlines()]
        wanted = sum(bool(text.strip()) for text in lines)
        assert last == {"done": True, "lines": wanted}
        assert sorted(result["line"] for result in results) == list(range(1, wanted + 1))
        assert "internal" not in response.text
        for text in lines[:200]:
            response = await client.post("/v1/push", text)
            assert response.status_code in (200, 400, 422), (text, response.text)
