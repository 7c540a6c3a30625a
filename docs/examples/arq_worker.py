"""Pushes as arq jobs: arq runs coroutines, so that a worker has one client for all its jobs.

    arq arq_worker.WorkerSettings

pushcore retries what may be sent later, so `max_tries` is 1: arq itself must not repeat a job that may have been sent.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from arq.connections import RedisSettings

from pushcore import ApnsClient, ApnsKey, Notification


async def open_client(context: dict[str, Any]) -> None:
    """When the worker starts."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    client = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    context["apns"] = await client.__aenter__()


async def close_client(context: dict[str, Any]) -> None:
    """When it ends: waits for what is in flight."""
    await context["apns"].close()


async def send_push(context: dict[str, Any], token: str, title: str) -> dict[str, object]:
    """Send one push; its result as JSON has it."""
    apns: ApnsClient = context["apns"]
    result = await apns.send(Notification(token, {"aps": {"alert": {"title": title}}}))
    return result.to_dict()


class WorkerSettings:
    """What `arq` reads."""

    functions: ClassVar = [send_push]
    on_startup = open_client
    on_shutdown = close_client
    max_jobs = 1000  # as many pushes in flight
    max_tries = 1
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
