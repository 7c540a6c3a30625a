"""One request to h2specd's server: h2specd starts this program for each of its cases.

`python h2spec_client.py fast|reference CA_FILE URL` opens one connection, sends one POST over it and waits for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import deque
from typing import cast

from pushcore.errors import TransportError
from pushcore.http2.dialer import Dialer
from pushcore.http2.exchange import NO_FIELDS, request
from pushcore.http2.headers import HeaderTemplate
from pushcore.http2.origin import read_origin
from pushcore.http2.protocol import ENGINES, Http2, Link
from pushcore.http2.streams import Limits
from pushcore.http2.tls import client_context

SECONDS = 1.8
"""h2specd gives a client three seconds, its start included, and waits one for what a case wants to see."""


async def send_one(engine: Http2, ca_file: str, url: str) -> None:
    origin = read_origin(url)
    loop = asyncio.get_running_loop()
    dialer = Dialer(
        host=origin.host,
        port=origin.port,
        context=client_context(ca_file=ca_file),
        timeout=SECONDS,
        new_link=lambda: Link(ENGINES[engine](Limits(), loop.time()), lambda link: None),
    )
    pseudo = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", origin.authority.encode())]
    with contextlib.suppress(TransportError):  # the case is about the first frames
        link = await dialer.dial()
        exchange = request(HeaderTemplate(pseudo), b"/", b"{}", NO_FIELDS, lambda finished: None)
        link.connection.take(deque([exchange]))
        link.schedule()
        await asyncio.wait([link.gone], timeout=SECONDS)
        link.close()


if __name__ == "__main__":
    asyncio.run(send_one(cast(Http2, sys.argv[1]), *sys.argv[2:]))
