"""`python -m fakeservers apns`, `fcm` or `all`: fake push services as a command."""

from __future__ import annotations

import argparse
import asyncio
import gc
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fakeservers.apns import FakeApns
from fakeservers.certs import Certificates
from fakeservers.fcm import MAX_BODY, FakeFcm
from fakeservers.google_account import FILE_NAME, PROJECT_ID, ServiceAccount
from fakeservers.google_front import BARE_MANNERS, Manners
from fakeservers.h2server import Limits
from fakeservers.options import parser
from fakeservers.world import World

GC_THRESHOLD = 100_000
"""Allocations between two collections: requests make no cycles, so looking for them is a tenth of the work lost."""


class UsageError(Exception):
    """What the user must change, in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fake servers until SIGTERM or SIGINT; the exit code is 0 then, 2 when one could not start."""
    options = parser().parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(options))
    except UsageError as error:
        print(f"fakeservers: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(options: argparse.Namespace) -> None:
    stop = _stop_signal()
    place = options.certs
    # Read before anything is written: a mistake in it leaves no files behind.
    world = _world(options) if "apns" in options.services else None
    certs = _attempt(f"cannot keep credentials in {place}: ", lambda: Certificates.create(place))
    fakes: dict[str, FakeApns | FakeFcm] = {}
    if world is not None:
        fakes["apns"] = _apns(options, certs, world)
    if "fcm" in options.services:
        fakes["fcm"] = _fcm(options, certs)
    async with AsyncExitStack() as running:
        for name, fake in fakes.items():
            await _start(running, fake, options.host, getattr(options, f"{name}_port"))
        for fake in fakes.values():
            _attempt(f"cannot write to {place}: ", partial(fake.write_config, place))
        if not _is_loopback(options.host):
            print(
                f"fakeservers: {options.host} can be reached from other machines", file=sys.stderr, flush=True
            )
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        for name, fake in fakes.items():
            print(f"{name} listening on {fake.url}" if len(fakes) > 1 else f"listening on {fake.url}")
        if len(fakes) > 1:
            print("ready")
        sys.stdout.flush()
        await stop.wait()


async def _start(running: AsyncExitStack, fake: FakeApns | FakeFcm, host: str, port: int) -> None:
    try:
        await running.enter_async_context(fake)
    except OSError as error:
        raise UsageError(f"cannot listen on {host} port {port}: {_plain(error)}") from error


def _world(options: argparse.Namespace) -> World:
    found: World = _attempt("", lambda: World.from_file(options.world) if options.world else World())
    found.known_only = found.known_only or options.known_only
    return found


def _apns(options: argparse.Namespace, certs: Certificates, world: World) -> FakeApns:
    if options.topic:
        world.allow(certs.team_id, *options.topic)
    return FakeApns(
        options.profile,
        host=options.host,
        port=options.apns_port,
        delay=options.delay_ms / 1000,
        certs=certs,
        world=world,
        token_max_age=options.token_max_age,
        token_min_refresh=options.token_min_refresh,
        keep=0,
        limits=Limits(max_connections=options.max_connections),
    )


def _fcm(options: argparse.Namespace, certs: Certificates) -> FakeFcm:
    file = Path(options.certs) / FILE_NAME
    account: ServiceAccount | None = None
    if file.exists():
        account = _attempt(
            f"cannot keep credentials in {options.certs}: ", lambda: ServiceAccount.from_file(file)
        )
    if account is None or options.project_id not in (None, account.project_id):
        account = ServiceAccount.create(options.project_id or PROJECT_ID)
    manners = Manners() if options.profile == "strict" else BARE_MANNERS
    for name in ("session_timeout", "max_age"):
        if getattr(options, name) is not None:
            manners = replace(manners, **{name: getattr(options, name)})
    fake = FakeFcm(
        options.profile,
        host=options.host,
        port=options.fcm_port,
        delay=options.delay_ms / 1000,
        certs=certs,
        account=account,
        server_key=options.server_key,
        access_token_lifetime=options.access_token_lifetime,
        topic_rate=options.topic_rate,
        keep=0,
        limits=Limits(max_connections=options.max_connections, max_body=MAX_BODY),
        manners=manners,
    )
    fake.oauth.delay = options.oauth_delay_ms / 1000
    fake.oauth.down = options.oauth_error == "unavailable"
    fake.oauth.error = "" if fake.oauth.down else options.oauth_error or ""
    return fake


def _stop_signal() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def _attempt(context: str, action: Callable[[], Any]) -> Any:
    """The action's result; a failure that the user can mend becomes a sentence."""
    try:
        return action()
    except (OSError, ValueError) as error:
        raise UsageError(f"{context}{_plain(error)}") from error


def _plain(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if isinstance(number, int) and number > 0 else str(error)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
