"""`:scheme: https:`, which firebase-admin for Node sends, is taken by both fakes and both HTTP/2 engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hpack
import pytest

from fakeservers import FakeApns, FakeFcm
from fakeservers.faults import FaultPlan, Shape
from fakeservers.serving.scheme import SchemeRewriter, as_sent
from tests.fakeservers.client import Client, headers_for, provider_token
from tests.fakeservers.faults_client import DATA, HEADERS, PREFACE, SETTINGS, frame, run
from tests.fakeservers.faults_support import plan_of
from tests.fakeservers.fcm_client import send_body, send_headers

HEADERS_OF_NODE = [(":method", "POST"), (":scheme", "https:"), (":authority", "x"), (":path", "/")]


def with_colon(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, "https:" if name == ":scheme" else value) for name, value in headers]


@pytest.mark.parametrize("profile", ["strict", "bare"])
@pytest.mark.parametrize("plan", [None, plan_of(Shape())], ids=["libnghttp2", "wire"])
@pytest.mark.parametrize("kind", [FakeApns, FakeFcm])
async def test_a_scheme_with_a_colon(kind: Any, plan: FaultPlan | None, profile: str) -> None:
    async with kind(profile, faults=plan) as fake, await Client.connect(fake) as client:
        if isinstance(fake, FakeApns):
            headers, body = headers_for(fake, provider_token(fake)), b"{}"
        else:
            headers, body = send_headers(fake), send_body()
        for _ in range(3):  # a literal the first time, then from the dynamic table
            assert (await client.push(with_colon(headers), body)).status == 200
        for record in fake.received:
            assert record.headers[":scheme"] == "https:"
        assert fake.server.counters.protocol_errors == 0


NODE = """
const fs = require("fs"), http2 = require("http2");
const [url, ca, path, headers, body] = process.argv.slice(2);
const session = http2.connect(url, {ca: fs.readFileSync(ca)});
let left = 3, statuses = [];
for (let n = 0; n < 3; n++) {
  const sent = session.request({...JSON.parse(headers), ":method": "POST", ":path": path, ":scheme": "https:"});
  sent.on("response", (found) => statuses.push(found[":status"]));
  sent.on("error", (error) => statuses.push(error.message));
  sent.on("close", () => { if (!--left) { console.log(JSON.stringify(statuses)); session.close(); } });
  sent.resume();
  sent.end(body);
}
"""


@pytest.mark.needs("node")
async def test_nodes_http2_as_firebase_admin_uses_it(tmp_path: Path) -> None:
    (tmp_path / "send.js").write_text(NODE)
    async with FakeFcm() as fake:
        headers = send_headers(fake)
        path = next(value for name, value in headers if name == ":path")
        fields = json.dumps({name: value for name, value in headers if name[0] != ":"})
        command = ("node", str(tmp_path / "send.js"), fake.url, fake.ca_file, path, fields)
        code, output = await run(*command, send_body().decode())
        assert (code, json.loads(output)) == (0, [200, 200, 200])


def block_of(headers: list[tuple[str, str]], *, huffman: bool) -> bytes:
    return hpack.Encoder().encode(headers, huffman=huffman)


@pytest.mark.parametrize("huffman", [True, False])
@pytest.mark.parametrize("size", [1, 7, 9, 30, 1000])
def test_however_the_bytes_come(size: int, huffman: bool) -> None:
    body = b"F\x06https: is no header here"
    before = PREFACE + frame(SETTINGS)
    after = frame(DATA, body, flags=1, stream=1)
    sent = frame(HEADERS, block_of(HEADERS_OF_NODE, huffman=huffman), flags=4, stream=1)
    rewriter = SchemeRewriter()
    data = before + sent + after
    passed = b"".join(rewriter.feed(data[at : at + size]) for at in range(0, len(data), size))
    assert (rewriter.rewrites, rewriter.finished) == (True, False)
    assert passed[: len(before)] == before
    assert passed[len(before) + len(sent) :] == after
    block = passed[len(before) + 9 : len(before) + len(sent)]
    decoded = [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(block, raw=True)]
    assert dict(decoded)[b":scheme"] == b"httpsB"
    assert dict(as_sent(decoded))[b":scheme"] == b"https:"


@pytest.mark.parametrize("size", [1, 7, 9, 30, 1000])
def test_other_clients_are_left_alone_after_their_first_request(size: int) -> None:
    ordinary = [(name, "https" if name == ":scheme" else value) for name, value in HEADERS_OF_NODE]
    data = PREFACE + frame(SETTINGS) + frame(HEADERS, block_of(ordinary, huffman=True), flags=5, stream=1)
    rewriter = SchemeRewriter()
    assert b"".join(rewriter.feed(data[at : at + size]) for at in range(0, len(data), size)) == data
    assert rewriter.finished
    assert not rewriter.rewrites


def test_a_frame_that_is_too_large_is_not_waited_for() -> None:
    rewriter = SchemeRewriter()
    data = PREFACE + b"\xff\xff\xff\x01\x04\0\0\0\x01" + b"x" * 100
    assert rewriter.feed(data) == data
