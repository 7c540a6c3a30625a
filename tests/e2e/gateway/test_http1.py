"""Requests byte by byte: what RFC 9112 forbids gets a 400 and ends the connection, and no push of it is sent.

A server that reads such a request in another way than the proxy in front of it lets one client speak for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import orjson

from fakeservers import FakeApns
from pushcore.gateway.config import ServerSection
from tests.support.gateway import TOKEN, app_section, config_of, serving

BODY = orjson.dumps({"to": f"{1:064x}", "payload": {"aps": {"alert": "Hi"}}})
LINE = b"POST /v1/push HTTP/1.1\r\n"
HOST = b"host: gateway\r\n"
AUTH = f"authorization: Bearer {TOKEN}\r\n".encode()
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CLOSE = b"connection: close\r\n"
GET = b"GET /healthz HTTP/1.1\r\n" + HOST


def post(*fields: bytes, body: bytes = BODY, line: bytes = LINE) -> bytes:
    """A push with these headers."""
    return b"".join((line, AUTH, *fields, b"\r\n", body))


GOOD = post(HOST, LENGTH)
LAST = post(HOST, LENGTH, CLOSE)

SERVED = {
    "length": LAST,
    "chunked": post(HOST, CHUNKED, CLOSE, body=CHUNKS),
    "chunk extension": post(HOST, CHUNKED, CLOSE, body=CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)),
    "HTTP/1.0 without host": post(LENGTH, line=LINE.replace(b"1.1", b"1.0")),
    "empty host": post(b"host:\r\n", LENGTH, CLOSE),
    "host of IPv6": post(b"host: [::1]:8080\r\n", LENGTH, CLOSE),
    "absolute form": post(HOST, LENGTH, CLOSE, line=LINE.replace(b"/v1", b"http://gateway/v1")),
    "empty lines before": b"\r\n\r\n" + LAST,
}
REFUSED = {
    "two hosts": post(HOST, b"host: other\r\n", LENGTH),
    "one host twice": post(HOST, HOST, LENGTH),
    "no host": post(LENGTH),
    "host with a blank": post(b"host: a b\r\n", LENGTH),
    "host with a path": post(b"host: a/b\r\n", LENGTH),
    "host with a user": post(b"host: a@b\r\n", LENGTH),
    "list of hosts": post(b"host: a, b\r\n", LENGTH),
    "no host for healthz": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two authorizations": post(HOST, LENGTH, b"authorization: Bearer x\r\n"),
    "two authorizations, the last is right": LINE + HOST + b"authorization: Bearer x\r\n" + GOOD[len(LINE) :],
    "two idempotency keys": post(HOST, LENGTH, b"idempotency-key: a\r\nidempotency-key: b\r\n"),
    "two content encodings": post(HOST, LENGTH, b"content-encoding: gzip\r\ncontent-encoding: identity\r\n"),
    "one length twice": post(HOST, LENGTH, LENGTH),
    "two lengths": post(HOST, LENGTH, b"content-length: 5\r\n"),
    "list of lengths": post(HOST, LENGTH.replace(b"\r\n", b", 5\r\n")),
    "length with a sign": post(HOST, LENGTH.replace(b": ", b": +")),
    "negative length": post(HOST, b"content-length: -1\r\n"),
    "hexadecimal length": post(HOST, b"content-length: 0x10\r\n"),
    "length with an underscore": post(HOST, b"content-length: 1_0\r\n"),
    "length of 23 digits": post(HOST, b"content-length: 99999999999999999999999\r\n"),
    "empty length": post(HOST, b"content-length:\r\n"),
    "blank behind the name": post(HOST, LENGTH.replace(b":", b" :")),
    "length and chunked": post(HOST, LENGTH, CHUNKED, body=CHUNKS),
    "chunked and length": post(HOST, CHUNKED, LENGTH, body=CHUNKS),
    "a request in the body": post(HOST, LENGTH, CHUNKED, body=b"0\r\n\r\n" + GET + b"\r\n"),
    "chunked twice": post(HOST, CHUNKED, CHUNKED, body=CHUNKS),
    "identity": post(HOST, CHUNKED.replace(b"chunked", b"identity")),
    "gzip and chunked": post(HOST, CHUNKED.replace(b"chunked", b"gzip, chunked"), body=CHUNKS),
    "chunked and identity": post(HOST, CHUNKED.replace(b"chunked", b"chunked, identity"), body=CHUNKS),
    "xchunked": post(HOST, CHUNKED.replace(b"chunked", b"xchunked"), body=CHUNKS),
    "vertical tab": post(HOST, CHUNKED.replace(b"chunked", b"\x0bchunked"), body=CHUNKS),
    "chunked with HTTP/1.0": post(HOST, CHUNKED, body=CHUNKS, line=LINE.replace(b"1.1", b"1.0")),
    "folded line": post(HOST, LENGTH, b"x: a\r\n b\r\n"),
    "folded coding": post(HOST, CHUNKED.replace(b" ", b"\r\n "), body=CHUNKS),
    "chunk size with 0x": post(HOST, CHUNKED, body=b"0x" + CHUNKS),
    "negative chunk size": post(HOST, CHUNKED, body=b"-" + CHUNKS),
    "chunk size of 20 digits": post(HOST, CHUNKED, body=b"f" * 20 + b"\r\n"),
    "chunk lines with LF": post(HOST, CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n")),
    "chunk longer than its size": post(HOST, CHUNKED, body=CHUNKS.replace(BODY, BODY + b"XX")),
    "lines with LF": GOOD.replace(b"\r\n", b"\n"),
    "CR in a value": post(HOST, LENGTH, b"x: a\rb\r\n"),
    "NUL in a value": post(HOST, LENGTH, b"x: a\0b\r\n"),
    "line without a colon": post(HOST, LENGTH, b"x\r\n"),
    "empty name": post(HOST, LENGTH, b": x\r\n"),
    "blank before the first name": LINE + b" " + GOOD[len(LINE) :],
    "HTTP/2.0": GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/1.2": GOOD.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/0.9": b"GET /healthz\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(100),
    "method in lower case": GOOD.replace(b"POST", b"post"),
    "unknown method": GOOD.replace(b"POST", b"BREW"),
    "CONNECT": b"CONNECT gateway:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "path of other bytes than ASCII": GET.replace(b"healthz", b"h\xc3\xa9") + b"\r\n",
    "path without a slash": GET.replace(b"/healthz", b"healthz") + b"\r\n",
    "no path": GET.replace(b"/healthz", b"?x") + b"\r\n",
}  # fmt: skip
SEVERAL = {
    "three requests": (GOOD + GOOD + LAST, [200, 200, 200]),
    "no request behind one": (GOOD + b"\0\r\n\r\n", [200]),
    "two lengths behind one": (GOOD + post(HOST, LENGTH, b"content-length: 5\r\n"), [200]),
    "two hosts between two": (GOOD + post(HOST, HOST, LENGTH) + GOOD, [200, 400]),
    "nothing behind the last": (LAST + GOOD, [200]),
    "100 and 200": (post(HOST, LENGTH, CLOSE, b"expect: 100-continue\r\n", body=b""), [100]),
    "another method": (GET.replace(b"GET", b"OPTIONS") + CLOSE + b"\r\n", [405]),
    "HEAD": (GET.replace(b"GET", b"HEAD") + CLOSE + b"\r\n", [200]),
    "paths that are not normalized": (
        b"".join(GET.replace(b"/healthz", path) + b"\r\n" for path in (b"//healthz", b"/v1/../healthz", b"/%00"))
        + GET + CLOSE + b"\r\n",
        [404, 404, 404, 200],
    ),
    "500 requests": ((GET + b"\r\n") * 499 + GET + CLOSE + b"\r\n", [200] * 500),
}  # fmt: skip


@contextlib.asynccontextmanager
async def gateway() -> AsyncIterator[Callable[[bytes], Coroutine[Any, Any, tuple[bytes, int]]]]:
    """A running gateway: gives all that it writes until it closes the connection, and the number of pushes that it sent."""
    async with (
        FakeApns() as fake,
        serving(config_of(app_section(fake), server=ServerSection(port=0))) as port,
    ):

        async def responses(sent: bytes) -> tuple[bytes, int]:
            before = len(fake.received)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            if b"expect:" in sent:
                written = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            else:
                written = await asyncio.wait_for(reader.read(), 5)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return written, len(fake.received) - before

        yield responses


def statuses(written: bytes) -> list[int]:
    """Of the responses."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", written)]


async def test_what_is_right_is_served() -> None:
    async with gateway() as responses:
        for name, sent in SERVED.items():
            written, pushes = await responses(sent)
            assert (statuses(written), pushes) == ([200], 1), name


async def test_what_is_wrong_gets_400_and_sends_nothing() -> None:
    async with gateway() as responses:
        for name, sent in REFUSED.items():
            written, pushes = await responses(sent)
            assert (statuses(written), pushes) == ([400], 0), name
            head, _, body = written.partition(b"\r\n\r\n")
            assert b"content-type: application/problem+json" in head, name
            assert b"connection: close" in head, name
            assert orjson.loads(body)["type"] == "urn:pushcore:problem:http", name
            assert TOKEN.encode() not in written, name


async def test_each_request_has_its_own_response() -> None:
    async with gateway() as responses:
        for name, (sent, expected) in SEVERAL.items():
            written, pushes = await responses(sent)
            assert statuses(written) == expected, name
            assert pushes == (expected.count(200) if b"POST" in sent else 0), name
