"""Pushes as arq jobs: arq runs coroutines, so a worker has one client for all its jobs.

    arq arq_worker.WorkerSettings

After a temporary rejection the job puts a new job on the queue: such a push was certainly not delivered. `max_tries` is 1, because arq
itself would also repeat a job whose push may have been delivered.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from arq.connections import RedisSettings

from pushcore import ApnsClient, ApnsKey, Notification


async def open_client(context: dict[str, Any]) -> None:
    """Called when the worker starts."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    client = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    context["apns"] = await client.__aenter__()


async def close_client(context: dict[str, Any]) -> None:
    """Called when it ends: waits for the requests in flight."""
    await context["apns"].close()


async def send_push(context: dict[str, Any], token: str, title: str, attempts: int = 5) -> dict[str, object]:
    """Send one push; returns its result as JSON values. `attempts`: how often it may be sent."""
    apns: ApnsClient = context["apns"]
    result = await apns.send(Notification(token, {"aps": {"alert": {"title": title}}}))
    wait = result.retry_after or result.row.wait
    if result.retryable and wait is not None and attempts > 1:
        await context["redis"].enqueue_job("send_push", token, title, attempts - 1, _defer_by=wait)
    return result.to_dict()


class WorkerSettings:
    """The settings that `arq` reads."""

    functions: ClassVar = [send_push]
    on_startup = open_client
    on_shutdown = close_client
    max_jobs = 1000  # pushes in flight
    max_tries = 1
    redis_settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
