"""Pushes as Celery tasks: a loop, a client and its connections for each worker process, whatever the pool forks.

    celery -A celery_tasks worker --concurrency 4

pushcore retries what the provider says may be sent later, and a push whose fate is unknown is not sent again. So the task has no
`autoretry_for`, and it is acknowledged before it runs, as is Celery's default: a worker that is killed sends nothing twice.
"""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_process_shutdown
from loop_thread import pusher

from pushcore import Notification

app = Celery("pushes", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


@app.task
def send_push(token: str, title: str) -> dict[str, object]:
    """Send one push; its result as JSON has it."""
    result = pusher().send(Notification(token, {"aps": {"alert": {"title": title}}}))
    if result.drop_token:
        print(f"delete the token {token[:8]}… from the database")
    return result.to_dict()


@worker_process_shutdown.connect
def close_client(**_: object) -> None:
    """Wait for what is in flight when a worker process ends."""
    if pusher.cache_info().currsize:
        pusher().close()
