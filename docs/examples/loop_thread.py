"""One event loop in a thread, for programs without one: Django under WSGI, Celery, RQ, scripts.

`pusher()` opens the client at its first call in a process, so each process that a server or a worker forks has its own connections.
Any thread may call `send`.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

from pushcore import ApnsClient, ApnsKey, Notification, Result


class Pusher:
    """An open client on a loop of its own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pushcore", daemon=True)
        self._thread.start()
        self._client = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        atexit.register(self.close)

    async def _open(self) -> ApnsClient:
        key = ApnsKey.from_file(
            os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
        )
        url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
        client = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
        return await client.__aenter__()

    def send(self, push: Notification) -> Result[Notification]:
        """Send one push; wait for its result, which comes within the client's timeout."""
        return asyncio.run_coroutine_threadsafe(self._client.send(push), self._loop).result()

    def close(self) -> None:
        """Wait for the requests in flight and end the loop."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


_lock = threading.Lock()
_pushers: dict[int, Pusher] = {}  # by process: a fork copies this dict, but not the thread


def pusher() -> Pusher:
    """The client of this process."""
    process = os.getpid()
    with _lock:
        if process not in _pushers:
            _pushers[process] = Pusher()
        return _pushers[process]


def close_pusher() -> None:
    """Close the client of this process, if it is open."""
    if os.getpid() in _pushers:
        _pushers[os.getpid()].close()
