"""Sends the items of a Redis list: JSON objects with `token` and `payload`, which a program in any language adds with LPUSH.

    redis-cli LPUSH pushes '{"token": "…", "payload": {"aps": {"alert": "Hi"}}}'
    python redis_list.py

An item is moved to the list `pushes:sending` before it is sent. When its result is added to the list `pushes:results`, it is removed from
there. Items that are in `pushes:sending` after a kill may have been sent or not: decide for each whether to put it back. An item that is
not such an object is moved to the list `pushes:bad`.
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

QUEUE, SENDING, RESULTS, BAD = "pushes", "pushes:sending", "pushes:results", "pushes:bad"


class Item(Notification):
    """A notification with the text that it was made of."""

    __slots__ = ("text",)
    text: str


async def items(redis: Redis, stop: asyncio.Event) -> AsyncIterator[Item]:
    """Each item of the list, until `stop` is set. The engine asks for the next one only when it can send it."""
    while not stop.is_set():
        text: Any = await redis.blmove(QUEUE, SENDING, 1, src="RIGHT", dest="LEFT")
        if text is None:
            continue
        try:
            given = json.loads(text)
            push = Item(given["token"], given["payload"])
        except (ValueError, TypeError, KeyError):
            async with redis.pipeline(transaction=True) as both:
                both.lpush(BAD, text)
                both.lrem(SENDING, 1, text)
                await both.execute()
            continue
        push.text = text
        yield push


async def main() -> None:
    """Send until SIGTERM or Ctrl-C; then wait for the requests in flight."""
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
