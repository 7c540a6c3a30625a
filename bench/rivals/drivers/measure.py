"""The input and the output of every driver in Python. Only the standard library is used here.

A driver in another language reads the same environment variables:

* RIVAL_URL, RIVAL_HOST, RIVAL_PORT, RIVAL_ADDRESS (host:port), RIVAL_CA_FILE: the server, always on 127.0.0.1
* RIVAL_COUNT: notifications; RIVAL_STREAMS: how many at a time
* RIVAL_PAYLOAD: APNs: the payload as JSON; FCM: notification, data and android as JSON
* RIVAL_AUTHORIZATION: a ready header, for drivers that make no tokens
* APNs: RIVAL_TOPIC, RIVAL_KEY_FILE, RIVAL_KEY_ID, RIVAL_TEAM_ID
* FCM: RIVAL_SERVICE_ACCOUNT_FILE, RIVAL_PROJECT_ID
"""

from __future__ import annotations

import json
import os
import time
from importlib.metadata import version
from typing import Any


def given(name: str) -> str:
    """One of the variables above, without RIVAL_; "" if this provider has none of that name."""
    return os.environ.get(f"RIVAL_{name.upper()}", "")


COUNT = int(given("count") or 0)
STREAMS = int(given("streams") or 1)


_READY = json.loads(given("payload") or "{}")


def apns_payload(number: int) -> dict[str, Any]:
    """The payload for the n-th device, made anew for each, as a program with personal texts does."""
    aps = _READY["aps"]
    fresh = {"alert": dict(aps["alert"]), "sound": aps["sound"], "badge": aps["badge"]}
    return {"aps": fresh, "order": 1_000_000 + number % 8_000_000, "link": _READY["link"]}


def device(number: int) -> str:
    """An APNs device token."""
    return f"{number:064x}"


def registration(number: int) -> str:
    """An FCM registration token."""
    return f"dPx6Y0k3Qm2Vb1N9zW8aLk:APA91b{number:0128x}"


class Clock:
    """Wall and CPU time of this process, threads included, from here to `stop`."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def stop(self, ok: int, package: str = "", *, release: str = "") -> None:
        """Print the line that the runner reads. `ok`: accepted pushes. `package`: whose version to print."""
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        told = release or (version(package) if package else "")
        line = {"rate": COUNT / wall, "cpu_us": cpu / COUNT * 1e6, "ok": ok, "version": told}
        print(json.dumps(line), flush=True)
