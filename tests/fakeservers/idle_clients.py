"""A process that opens connections and leaves them be: `python -m tests.fakeservers.idle_clients HOST PORT COUNT`.

It says `open` when all of them have the server's SETTINGS, and ends them all at the end of its standard input.
"""

from __future__ import annotations

import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
THREADS = 4


def main(host: str, port: int, count: int) -> None:
    """Open them, a few at a time, and wait."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = (
        ssl.CERT_NONE
    )  # who is asked is known, and checking it 10 000 times is half of the work
    context.set_alpn_protocols(["h2"])

    def connect(_: int) -> ssl.SSLSocket:
        link = context.wrap_socket(socket.create_connection((host, port), 30), server_hostname=host)
        link.sendall(PREFACE)
        if not link.recv(9):
            raise ConnectionError("the server has closed")
        return link

    with ThreadPoolExecutor(THREADS) as threads:
        links = list(threads.map(connect, range(count)))
    print("open", flush=True)
    sys.stdin.read()
    for link in links:
        link.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
