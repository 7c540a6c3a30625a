"""Sends what a Redis list holds: JSON objects with `token` and `payload`, put there with LPUSH by a program in any language.

    redis-cli LPUSH pushes '{"token": "…", "payload": {"aps": {"alert": "Hi"}}}'
    python redis_list.py

An item moves to the list `pushes:sending` before it is sent, and leaves that with its result in the list `pushes:results`. What a kill
leaves in `pushes:sending` may have been sent or not: look at it before you put it back.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from pushcore import ApnsClient, ApnsKey, Notification, PushEngine

QUEUE, SENDING, RESULTS = "pushes", "pushes:sending", "pushes:results"


class Item(Notification):
    """A notification that knows the text it was made of."""

    __slots__ = ("text",)
    text: str


async def items(redis: Redis, stop: asyncio.Event) -> AsyncIterator[Item]:
    """Each item of the list, until `stop` is set. The engine asks for the next one only when it can send it."""
    while not stop.is_set():
        text: Any = await redis.blmove(QUEUE, SENDING, 1, src="RIGHT", dest="LEFT")
        if text is not None:
            given = json.loads(text)
            push = Item(given["token"], given["payload"])
            push.text = text
            yield push


async def main() -> None:
    """Send until SIGTERM or Ctrl-C; then wait for what is in flight."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    apns = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    async with (
        Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as redis,
        PushEngine(apns) as engine,
    ):
        async for result in engine.send_many(items(redis, stop)):
            async with redis.pipeline(transaction=True) as both:
                both.lpush(RESULTS, json.dumps(result.to_dict()))
                both.lrem(SENDING, 1, result.push.text)
                await both.execute()


if __name__ == "__main__":
    asyncio.run(main())
