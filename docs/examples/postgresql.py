"""Sends to the devices of a PostgreSQL table, and writes the results into another table.

    CREATE TABLE devices (id bigint PRIMARY KEY, token text NOT NULL, registered_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE push_results (campaign text, device bigint, verdict text NOT NULL, reason text, PRIMARY KEY (campaign, device));

    python postgresql.py autumn                  # the database is set by PGHOST, PGDATABASE and further variables of libpq

Rows are read through a server-side cursor, so memory does not grow with the table. Results are written in batches, and the dead tokens
of a batch are deleted in the same transaction. If the program is killed and run again, it sends to the devices without a result. Pushes
that had no result in the database at the kill, at most the window and one batch, are sent twice.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence

from psycopg import AsyncConnection

from pushcore import ApnsClient, ApnsKey, Notification, PushEngine, Result

BATCH = 500
PAYLOAD = b'{"aps":{"alert":"Hi"}}'

UNSENT = """
    SELECT id, token FROM devices
    WHERE NOT EXISTS (SELECT FROM push_results WHERE campaign = %s AND device = devices.id) ORDER BY id
"""
# A token that was registered again after Apple called it dead is kept, and so is one that was replaced in the meantime.
DELETE_DEAD = "DELETE FROM devices WHERE id = %s AND token = %s AND registered_at < to_timestamp(%s)"


class Device(Notification):
    """A push with the id of its row."""

    __slots__ = ("id",)
    id: int


async def devices(connection: AsyncConnection, campaign: str) -> AsyncIterator[list[Device]]:
    """The devices without a result, a batch at a time, as the engine asks for them."""
    async with connection.cursor("devices") as cursor:  # its name makes it a server-side cursor
        await cursor.execute(UNSENT, (campaign,))
        while rows := await cursor.fetchmany(BATCH):
            batch = []
            for number, token in rows:
                device = Device(token, PAYLOAD)
                device.id = number
                batch.append(device)
            yield batch


async def record(connection: AsyncConnection, campaign: str, results: Sequence[Result[Device]]) -> None:
    """Write the results of a batch, and delete its dead tokens."""
    dead = [
        (result.push.id, result.push.token, result.timestamp)
        for result in results
        if result.drop_token and result.timestamp is not None
    ]
    async with connection.transaction(), connection.cursor() as cursor:
        async with cursor.copy("COPY push_results (campaign, device, verdict, reason) FROM STDIN") as copy:
            for result in results:
                await copy.write_row((campaign, result.push.id, result.verdict.value, result.reason))
        await cursor.executemany(DELETE_DEAD, dead)


async def main(campaign: str) -> None:
    """Send to all devices of the table that have no result."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    apns = ApnsClient(
        key,
        topic=os.environ["APNS_TOPIC"],
        url=os.environ.get("APNS_URL"),
        ca_file=os.environ.get("APNS_CA_FILE"),
    )
    async with (
        await AsyncConnection.connect() as reading,
        await AsyncConnection.connect() as writing,
        PushEngine(apns) as engine,
        engine.stream(devices(reading, campaign)) as results,
    ):
        batch: list[Result[Device]] = []
        try:
            async for result in results:
                batch.append(result)
                if len(batch) == BATCH:
                    await record(writing, campaign, batch)
                    batch = []
        finally:  # also after BreakerOpen, which is raised behind all results
            await record(writing, campaign, batch)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
