"""What the programs in Python share: where they send, the tokens, and how outcomes are printed. Standard library alone.

A program in another language reads the same:

* SENDER_TOPIC, SENDER_KEY_FILE, SENDER_KEY_ID, SENDER_TEAM_ID: APNs, a provider token
* SENDER_CERTIFICATE_FILE: APNs, a PKCS#12 file; SENDER_CERTIFICATE_PASSWORD: its passphrase
* SENDER_SERVICE_ACCOUNT_FILE, SENDER_PROJECT_ID: FCM
* SENDER_URL, SENDER_HOST, SENDER_PORT: the fake; empty for a program whose header says `reached: hosts`
* SENDER_CA_FILE: what to trust. The usual variables (SSL_CERT_FILE and its like) name it, too.
* SENDER_STREAMS: pushes in flight at most
* standard input: the tokens, one per line

It sends one push to each token, and prints one line of JSON for each: `{"token": …, "outcome": …}`. The outcome is `ok`, or what
the library gives its caller: the class of the error, and its text.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable


def given(name: str) -> str:
    """One of the variables above, without SENDER_; "" when it is not set."""
    return os.environ.get(f"SENDER_{name.upper()}", "")


TOKENS = sys.stdin.read().split()
STREAMS = int(given("streams") or 1)


def tell(token: str, outcome: str) -> None:
    """Print a push's outcome, from any thread."""
    sys.stdout.write(json.dumps({"token": token, "outcome": outcome}) + "\n")  # one write, and so one line
    sys.stdout.flush()


def named(error: BaseException) -> str:
    """An exception as its class and text."""
    kind = type(error).__name__
    text = " ".join(str(error).split()).removeprefix(f"{kind}: ")
    return f"{kind}: {text}" if text else kind


async def send_all(send: Callable[[str], Awaitable[str]]) -> None:
    """Send to every token, `STREAMS` at a time.

    Args:
        send: sends one push and returns its outcome; what it raises is one, too.
    """
    tokens = iter(TOKENS)

    async def worker() -> None:
        for token in tokens:
            try:
                outcome = await send(token)
            except Exception as error:
                outcome = named(error)
            tell(token, outcome)

    await asyncio.gather(*(worker() for _ in range(min(STREAMS, len(TOKENS)))))
