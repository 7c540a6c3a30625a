"""`python -m fakeservers apns`: a fake push service as a command."""

from __future__ import annotations

import argparse
import asyncio
import gc
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from fakeservers.apns import PROFILES, TOPIC, FakeApns
from fakeservers.certs import Certificates
from fakeservers.h2server import Limits
from fakeservers.world import World

GC_THRESHOLD = 100_000
"""Allocations between two collections: requests make no cycles, so looking for them is a tenth of the work lost."""


class UsageError(Exception):
    """What the user must change, in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one fake server until SIGTERM or SIGINT; the exit code is 0 then, 2 when it could not start."""
    options = _parser().parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(options.run(options))
    except UsageError as error:
        print(f"fakeservers: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fakeservers", description="Fake push services to test against."
    )
    services = parser.add_subparsers(metavar="SERVICE", required=True)
    apns = services.add_parser(
        "apns",
        help="Apple's push service",
        description="A fake APNs. When it is ready it prints one line, `listening on https://HOST:PORT`; "
        "DIR/apns.json then holds all that a client needs. SIGTERM or SIGINT ends it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    apns.set_defaults(run=_run_apns)
    add = apns.add_argument
    add(
        "--certs",
        required=True,
        metavar="DIR",
        help="where ca.pem, the .p8 and apns.json go; credentials there are kept",
    )
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=_port, default=0, help="0 takes a free port")
    add(
        "--profile",
        choices=PROFILES,
        default="strict",
        help="strict checks every rule of Apple's, bare says 200",
    )
    add(
        "--delay-ms",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="milliseconds between a request and its answer",
    )
    add(
        "--token-max-age",
        type=_seconds,
        default=3600.0,
        metavar="S",
        help="seconds until a provider token is stale",
    )
    add(
        "--token-min-refresh",
        type=_seconds,
        default=1200.0,
        metavar="S",
        help="seconds that a connection must keep one",
    )
    add("--world", metavar="FILE", help="JSON with keys, topics and devices, see docs/fakeservers.md")
    add(
        "--topic",
        action="append",
        metavar="T",
        help=f"bundle id that may be pushed to; may be repeated ({TOPIC})",
    )
    add(
        "--known-only",
        action="store_true",
        help="answer BadDeviceToken for devices that the world does not list",
    )
    add(
        "--max-connections", type=_whole, default=Limits().max_connections, metavar="N", help="open at a time"
    )
    return parser


async def _run_apns(options: argparse.Namespace) -> None:
    stop = _stop_signal()
    world = _attempt("", lambda: World.from_file(options.world) if options.world else World())
    world.known_only = world.known_only or options.known_only
    place = options.certs
    certs = _attempt(f"cannot keep credentials in {place}: ", lambda: Certificates.create(place))
    if options.topic:
        world.allow(certs.team_id, *options.topic)
    fake = FakeApns(
        options.profile,
        host=options.host,
        port=options.port,
        delay=options.delay_ms / 1000,
        certs=certs,
        world=world,
        token_max_age=options.token_max_age,
        token_min_refresh=options.token_min_refresh,
        keep=0,
        limits=Limits(max_connections=options.max_connections),
    )
    try:
        await fake.__aenter__()
    except OSError as error:
        raise UsageError(f"cannot listen on {options.host} port {options.port}: {_plain(error)}") from error
    try:
        _attempt(f"cannot write to {place}: ", lambda: fake.write_config(place))
        if not _is_loopback(options.host):
            print(
                f"fakeservers: {options.host} can be reached from other machines", file=sys.stderr, flush=True
            )
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        print(f"listening on {fake.url}", flush=True)
        await stop.wait()
    finally:
        await fake.__aexit__(None, None, None)


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


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of zero or more")
    return int(text)


def _port(text: str) -> int:
    port = _whole(text)
    if port > 65_535:  # uvloop would take it for another one
        raise argparse.ArgumentTypeError(f"there is no port {port}")
    return port


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not zero or more")
    return value


if __name__ == "__main__":
    sys.exit(main())
