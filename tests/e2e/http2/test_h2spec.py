"""Both codecs judged by h2specd, h2spec's suite for clients. `.ci/run` installs it where there is Go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import sys
from pathlib import Path

import pytest

import pushcore
from fakeservers import Certificates
from tests.e2e.support import ENGINES

CASES = 57
LENIENT = {
    # python-hyper/h2 ignores the first and resets the stream for the second.
    "idle: Sends a RST_STREAM frame",
    "Sends a RST_STREAM frame on a idle stream",
    "closed: Sends a DATA frame",
}
CLIENT = Path(__file__).parents[2] / "support" / "h2spec_client.py"


def free_range(size: int) -> int:
    """The first of `size` consecutive ports on which nothing listens: h2specd has one for each case."""
    for first in range(20_000, 32_000, size):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + size):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
            return first
    raise AssertionError("no free range of ports")


@pytest.mark.needs("h2specd")
@pytest.mark.deadline(300)
@pytest.mark.parametrize("engine", ENGINES)
async def test_h2spec_finds_nothing_in_our_client(engine: str, certs: Certificates) -> None:
    client = f"{sys.executable} {CLIENT} {engine} {certs.ca_file}"
    process = await asyncio.create_subprocess_exec(
        *("h2specd", "--tls", "--host", "localhost", "--from-port", str(free_range(CASES + 3))),
        # A client that hangs up passes for one that complains, so h2specd must lose its patience first.
        *("--timeout", "1"),
        *("--cert-file", str(certs.server_file), "--cert-key-file", str(certs.server_file)),
        *("--exec", client),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(Path(pushcore.__file__).parents[1])},
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    # At its end it says for a while that its listeners are closed.
    report = "\n".join(line for line in output.decode().splitlines() if "use of closed" not in line)
    summary = re.search(r"(\d+) tests, \d+ passed, (\d+) skipped, \d+ failed", report)
    assert summary is not None, report[-2000:]
    assert [int(number) for number in summary.groups()] == [CASES, 0], report[-4000:]
    failed = set(re.findall("\N{MULTIPLICATION SIGN} \\d+: (.*)", report))
    assert failed <= (LENIENT if engine == "reference" else set()), report[-4000:]
