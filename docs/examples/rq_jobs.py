"""Pushes as RQ jobs.

    python rq_jobs.py              # a worker
    python rq_jobs.py TOKEN TITLE  # puts a push on the queue

RQ's default worker forks a process for each job, which would open a connection for each push. A `SimpleWorker` runs its jobs in one
process, so they share the connections; start several of them for several cores.

After a temporary rejection the job puts a new job on the queue: such a push was certainly not delivered. RQ's own `Retry` would also
repeat a job whose push may have been delivered.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from loop_thread import pusher
from redis import Redis
from rq import Queue, SimpleWorker

from pushcore import Notification

redis = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("pushes", connection=redis)


def send_push(token: str, title: str, attempts: int = 5) -> dict[str, object]:
    """Send one push; returns its result as JSON values. `attempts`: how often it may be sent."""
    result = pusher().send(Notification(token, {"aps": {"alert": {"title": title}}}))
    wait = result.retry_after or result.row.wait
    if result.retryable and wait is not None and attempts > 1:
        queue.enqueue_in(timedelta(seconds=wait), "rq_jobs.send_push", token, title, attempts - 1)
    return result.to_dict()


def main(arguments: list[str]) -> None:
    """Queue a push, or work until SIGTERM; with BURST in the environment until the queue is empty."""
    if arguments:
        token, title = arguments
        queue.enqueue("rq_jobs.send_push", token, title)
    else:  # the scheduler puts retries on the queue when they are due
        SimpleWorker([queue], connection=redis).work(burst="BURST" in os.environ, with_scheduler=True)


if __name__ == "__main__":
    main(sys.argv[1:])
