"""Pushes as RQ jobs.

    python rq_jobs.py              # a worker
    python rq_jobs.py TOKEN TITLE  # puts a push on the queue

RQ's ordinary worker forks a process for each job, which would open a connection for each push. A `SimpleWorker` runs its jobs in one
process, so that they share the connections; start several of them for several cores.
"""

from __future__ import annotations

import os
import sys

from loop_thread import pusher
from redis import Redis
from rq import Queue, SimpleWorker

from pushcore import Notification


def send_push(token: str, title: str) -> dict[str, object]:
    """Send one push; its result as JSON has it."""
    return pusher().send(Notification(token, {"aps": {"alert": {"title": title}}})).to_dict()


def main(arguments: list[str]) -> None:
    """Queue a push, or work until SIGTERM; with BURST in the environment until the queue is empty."""
    redis = Redis.from_url(os.environ["REDIS_URL"])
    queue = Queue("pushes", connection=redis)
    if arguments:
        token, title = arguments
        queue.enqueue("rq_jobs.send_push", token, title)
    else:
        SimpleWorker([queue], connection=redis).work(burst="BURST" in os.environ)


if __name__ == "__main__":
    main(sys.argv[1:])
