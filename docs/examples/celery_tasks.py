"""Pushes as Celery tasks: each worker process has a loop and a client of its own.

    celery -A celery_tasks worker --concurrency 4

A temporary rejection is retried by Celery: such a push was certainly not delivered. A push whose outcome is UNKNOWN may have been
delivered, and is not sent again. So the task has no `autoretry_for`, and it is acknowledged before it runs, which is Celery's default: a
worker that is killed sends nothing twice.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_shutdown
from loop_thread import close_pusher, pusher

from pushcore import Notification

app = Celery("pushes", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


@app.task(bind=True, max_retries=5)
def send_push(self: Any, token: str, title: str) -> dict[str, object]:
    """Send one push; returns its result as JSON values."""
    result = pusher().send(Notification(token, {"aps": {"alert": {"title": title}}}))
    wait = result.retry_after or result.row.wait
    if result.retryable and wait is not None and self.request.retries < self.max_retries:
        raise self.retry(countdown=wait)
    if result.drop_token:
        print(f"delete the token {token[:8]}… from the database")
    return result.to_dict()


@worker_process_shutdown.connect
def close_client(**_: object) -> None:
    """Wait for the requests in flight when a worker process ends."""
    close_pusher()
