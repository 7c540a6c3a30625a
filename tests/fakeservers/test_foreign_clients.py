"""Clients that are not ours are served by both strict fakes: curl, h2load, Node's own http2, and python-hyper/h2.

The same three requests by each: many good ones on one connection, one that the provider refuses, and one without
credentials. What h2load cannot tell apart it does not do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from fakeservers import FakeApns, FakeFcm
from tests.fakeservers.client import PAYLOAD, Client, headers_for, provider_token, soon
from tests.fakeservers.faults_client import run
from tests.fakeservers.fcm_client import send_body, send_headers

Fake: TypeAlias = FakeApns | FakeFcm
Headers: TypeAlias = list[tuple[str, str]]
Answer: TypeAlias = tuple[int, str]
"""Status, and what the body says: Apple's reason, Google's status, or nothing when it is 200."""

MANY = 50
both_loops = pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])
both_fakes = pytest.mark.parametrize("kind", [FakeApns, FakeFcm])


def requests_of(fake: Fake) -> list[tuple[Headers, bytes]]:
    """Good ones, then one to a device that there is not, then one by nobody."""
    if isinstance(fake, FakeApns):
        token = provider_token(fake)
        good = (headers_for(fake, token), PAYLOAD)
        return [good] * MANY + [(headers_for(fake, token, "xyz"), PAYLOAD), (headers_for(fake), PAYLOAD)]
    headers = send_headers(fake)
    anonymous = [header for header in headers if header[0] != "authorization"]
    bad = send_body(token="xyz")
    return [(headers, send_body())] * MANY + [(headers, bad), (anonymous, send_body())]


def expected(fake: Fake) -> list[Answer]:
    wrong = (400, "BadDeviceToken"), (403, "MissingProviderToken")
    if isinstance(fake, FakeFcm):
        wrong = (400, "INVALID_ARGUMENT"), (401, "UNAUTHENTICATED")
    return [(200, "")] * MANY + list(wrong)


def answer(status: int, body: bytes | str) -> Answer:
    if status == 200:
        return status, ""
    content = json.loads(body)
    return status, content.get("reason") or content["error"]["status"]


async def by_h2(fake: Fake, place: Path) -> list[Answer]:
    async with await Client.connect(fake) as client:
        first, *others = requests_of(fake)
        replies = [await client.push(*first)]
        await client.until(lambda: client.streams > 1)  # APNs allows one until it knows the client
        replies += [await client.reply(item) for item in [client.request(*other) for other in others]]
        return [answer(reply.status, reply.body) for reply in replies]


async def by_curl(fake: Fake, place: Path) -> list[Answer]:
    """All in one run, and so over one connection."""
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "10"]
    for number, (headers, body) in enumerate(requests_of(fake)):
        path = next(value for name, value in headers if name == ":path")
        fields = [part for name, value in headers if name[0] != ":" for part in ("-H", f"{name}: {value}")]
        options = ["--http2", "--cacert", fake.ca_file, "-d", body.decode(), "-o", str(place / str(number))]
        command += [*options, *fields, "-w", "%{http_code} %{http_version}\n", fake.url + path, "--next"]
    code, output = await run(*command[:-1])
    assert code == 0, output
    results = [line.split() for line in output.splitlines()]
    assert {version for _, version in results} == {"2"}
    return [
        answer(int(status), (place / str(number)).read_bytes()) for number, (status, _) in enumerate(results)
    ]


NODE = """
const http2 = require('node:http2'), fs = require('node:fs');
const {url, ca, requests} = JSON.parse(fs.readFileSync(0));
const session = http2.connect(url, {ca: fs.readFileSync(ca)});
const send = ([headers, body]) => new Promise((resolve, reject) => {
  const stream = session.request(Object.fromEntries(headers));
  let status = 0, text = '';
  stream.on('response', got => status = got[':status']).on('error', reject).setEncoding('utf8');
  stream.on('data', part => text += part).on('end', () => resolve([status, text]));
  stream.end(body);
});
(async () => {
  const first = await send(requests[0]);
  const answers = [first, ...await Promise.all(requests.slice(1).map(send))];
  console.log(JSON.stringify(answers));
  session.close();
})();
"""


async def by_node(fake: Fake, place: Path) -> list[Answer]:
    script = place / "client.js"
    script.write_text(NODE)
    requests = [(headers, body.decode()) for headers, body in requests_of(fake)]
    told = json.dumps({"url": fake.url, "ca": fake.ca_file, "requests": requests}).encode()
    code, output = await run("node", str(script), stdin=told)
    assert code == 0, output
    return [answer(status, body) for status, body in json.loads(output)]


CLIENTS: dict[str, Callable[[Fake, Path], Awaitable[list[Answer]]]] = {
    "h2": by_h2,
    "curl": by_curl,
    "node": by_node,
}


@both_loops
@both_fakes
@pytest.mark.parametrize(
    "client", ["h2", *(pytest.param(item, marks=pytest.mark.needs(item)) for item in ("curl", "node"))]
)
async def test_answers_are_the_providers(client: str, kind: type[Fake], loop: str, tmp_path: Path) -> None:
    async with kind() as fake:
        assert await CLIENTS[client](fake, tmp_path) == expected(fake)
        await soon(lambda: fake.connections == 0)
        assert fake.accepted == 1
        assert fake.server.counters.protocol_errors == 0


@both_loops
@both_fakes
@pytest.mark.needs("h2load")
async def test_h2load(kind: type[Fake], loop: str, tmp_path: Path) -> None:
    async with kind() as fake:
        headers, payload = requests_of(fake)[0]
        body = tmp_path / "body.json"
        body.write_bytes(payload)
        path = next(value for name, value in headers if name == ":path")
        fields = [part for name, value in headers if name[0] != ":" for part in ("-H", f"{name}: {value}")]
        options = ["-n", "5000", "-c", "2", "-m", "100", "-d", str(body), *fields]
        code, output = await run("h2load", *options, fake.url + path)
        match = re.search(r"(\d+) succeeded, \d+ failed, (\d+) errored", output)
        assert code == 0, output
        assert match, output
        # h2load may open 100 streams before it has read that APNs allows one: the others are refused, rightly.
        assert int(match[1]) >= 5000 - (2 * 99 if isinstance(fake, FakeApns) else 0)
        assert fake.counts == {(200, ""): int(match[1])}
        assert fake.server.counters.protocol_errors == 0
