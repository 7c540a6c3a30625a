"""A sender that survives kill -9: it records each token before it is sent and its outcome afterwards. Start it again to continue.

    python durable_sender.py tokens.txt campaign.db

No push is sent twice. Pushes that were in flight when it was killed are UNKNOWN: they may have been delivered.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pushcore import ApnsClient, ApnsKey, Journal, Notification, PushEngine, Source, push_id

PAYLOAD = {"aps": {"alert": {"title": "Our new app is here"}}}


class Row(Notification):
    """A notification with the number of its line in the file."""

    __slots__ = ("row",)
    row: int


def rows(tokens: Path, journal: Journal) -> Iterator[Row]:
    """One push for each token. `push_id` gives a row the same apns-id after a restart."""
    with tokens.open() as lines:
        for number, line in enumerate(lines, 1):
            push = Row(line.strip(), PAYLOAD, apns_id=push_id(journal.campaign_id, number))
            push.row = number
            yield push


async def main(tokens: Path, path: Path) -> None:
    """Send every row that has no outcome yet, and print the number of rows by verdict."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    apns = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    source = Source.of_file(tokens)
    with Journal.open(path, source) if path.exists() else Journal.create(path, source) as journal:
        async with PushEngine(apns) as engine:
            async for result in engine.send_many(rows(tokens, journal), journal=journal):
                if result.drop_token:
                    print("delete", result.push.token)
        journal.finish()  # there are no more rows
    print(dict(Counter(outcome.verdict.name for outcome in Journal.read(path).results())))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
