"""`python -m fakeservers apns`, `fcm` or `all`: fake push services as a command."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C ends the command without a traceback until it has a loop with handlers.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import asyncio
import contextlib
import gc
import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from fakeservers.extra import stop

try:
    import orjson

    from fakeservers.apns.registry import ApnsRegistry
    from fakeservers.apns.server import FakeApns
    from fakeservers.certs import Certificates
    from fakeservers.control.processes import (
        Child,
        Pipe,
        ServerProcesses,
        answer_calls,
        fork,
        is_loopback,
        reserve,
    )
    from fakeservers.control.service import Calls, ControlService
    from fakeservers.faults import FaultPlan
    from fakeservers.fcm.server import MAX_BODY, FakeFcm
    from fakeservers.fcm.service_account import FILE_NAME, PROJECT_ID, FakeServiceAccount
    from fakeservers.handouts import check_names, write_certificates, write_fates
    from fakeservers.impersonation import hosts_of, route_to
    from fakeservers.options import check_ports, parser
    from fakeservers.serving.google_front import BARE_POLICY, FrontEndPolicy
    from fakeservers.serving.redirecting_proxy import RedirectingProxy
    from fakeservers.serving.small_files import read_small
    from fakeservers.serving.standard_streams import abandon_output, occupy_closed
    from fakeservers.serving.types import ServerLimits
except ModuleNotFoundError as error:
    stop(error)

Fakes: TypeAlias = dict[str, Any]
"""`apns`, `fcm` or both."""

TOKEN_LENGTH = (16, 200)
"""Characters of a control port's token."""
OTHER_FILES = 256
"""Files besides connections that push."""
LEAST_FILES = 64
"""Files without which the fakes do not start: the event loop's library aborts a process that cannot open its own."""
GC_THRESHOLD = 100_000
"""Allocations between two collections: requests make no cycles, so looking for them is a tenth of the work lost."""


class UsageError(Exception):
    """What the user must change, in one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fake servers until SIGTERM, SIGINT or SIGHUP; the exit code is 0 then, 2 when one could not start."""
    occupy_closed()
    options = parser().parse_args(arguments)
    try:
        _allow_files(len(options.services) * options.max_connections + OTHER_FILES)
        _attempt("", lambda: check_ports(options))
        if options.processes > 1:
            return _run_many(options)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(options))
    except UsageError as error:
        print(f"fakeservers: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        stop(error)
    return 0


async def _run(options: argparse.Namespace) -> None:
    stop = _stop_event(options)
    fakes = _fakes(options)
    async with AsyncExitStack() as running:
        await _start_all(running, options, fakes)
        control = await _control(running, options, ControlService(**fakes))
        proxy = await _proxy(running, options, _urls(fakes))
        _settle()
        _announce(options, _urls(fakes), control, proxy)
        await stop.wait()


def _run_many(options: argparse.Namespace) -> int:
    """The same with several processes; this one has the ports and the control port, and serves no pushes."""
    with ExitStack() as held:
        for name in (*options.services, *(("channels",) if "apns" in options.services else ())):
            port = getattr(options, f"{name}_port")
            try:
                holder = held.enter_context(reserve(options.host, port))
            except OSError as error:
                raise _cannot_listen(options.host, port, error) from error
            setattr(options, f"{name}_port", holder.getsockname()[1])
        fakes = _fakes(options)
        if "apns" in fakes:
            directory = held.enter_context(tempfile.TemporaryDirectory(prefix="fakeapns-channels-"))
            fakes["apns"].registry.channels.share(Path(directory))
        children = fork(options.processes, partial(_serve_in_child, options, fakes))
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_oversee(options, children))


def _serve_in_child(options: argparse.Namespace, fakes: Fakes, number: int, pipe: Pipe) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(options, fakes, number, pipe))


async def _serve(options: argparse.Namespace, fakes: Fakes, number: int, pipe: Pipe) -> int:
    async with AsyncExitStack() as running:
        try:
            await _start_all(running, options, fakes, write=number == 0)
        except UsageError as error:
            pipe.send({"trouble": str(error)})
            return 2
        _settle()
        pipe.send({"urls": _urls(fakes)})
        await answer_calls(pipe, ControlService(**fakes))
    return 0


async def _oversee(options: argparse.Namespace, children: Sequence[Child]) -> int:
    stop = _stop_event(options)
    async with ServerProcesses(children) as workers, AsyncExitStack() as running:
        messages = await workers.first_messages()
        for message in messages:
            if "trouble" in message:
                raise UsageError(message["trouble"])
        control = await _control(running, options, workers)
        proxy = await _proxy(running, options, messages[0]["urls"])
        _announce(options, messages[0]["urls"], control, proxy)
        ends = [asyncio.create_task(event.wait()) for event in (stop, workers.ended)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
        if stop.is_set():
            return 0
    print("fakeservers: one of the processes has ended", file=sys.stderr)
    return 1


def _urls(fakes: Fakes) -> dict[str, str]:
    """Where each fake listens, and APNs' channels are managed."""
    urls = {name: fake.url for name, fake in fakes.items()}
    return {**urls, "channels": fakes["apns"].channels_url} if "apns" in fakes else urls


def _fakes(options: argparse.Namespace) -> Fakes:
    """The fakes that are asked for, not listening yet."""
    # Read before anything is written: a mistake in it leaves no files behind.
    _attempt("", lambda: check_names(getattr(options, "client_cert", None) or ()))
    registry = _registry(options) if "apns" in options.services else None
    faults = _faults(options)
    certs = _attempt(
        f"cannot keep credentials in {options.certs}: ",
        lambda: Certificates.create(options.certs, hosts=_impersonated(options)),
    )
    fakes: Fakes = {}
    if registry is not None:
        fakes["apns"] = _apns(options, certs, registry, faults)
    if "fcm" in options.services:
        fakes["fcm"] = _fcm(options, certs, faults)
    return fakes


async def _start_all(
    running: AsyncExitStack, options: argparse.Namespace, fakes: Fakes, *, write: bool = True
) -> None:
    """Let them listen, and write what clients need."""
    for name, fake in fakes.items():
        try:
            await running.enter_async_context(fake)
        except OSError as error:
            port = fake.asked_port if name == "apns" else options.fcm_port
            raise _cannot_listen(options.host, port, error) from error
    if write:
        _attempt(f"cannot write to {options.certs}: ", partial(_write_files, options, fakes))


def _write_files(options: argparse.Namespace, fakes: Fakes) -> None:
    """What clients need."""
    for fake in fakes.values():
        fake.write_config(options.certs)
    write_fates(Path(options.certs), options.services)
    if "apns" in fakes:
        write_certificates(fakes["apns"].certs, options.client_cert or ())


def _impersonated(options: argparse.Namespace) -> tuple[str, ...]:
    """The providers' hosts that the certificate is to be valid for."""
    if options.impersonate is not None:
        hosts: tuple[str, ...] = options.impersonate
        return hosts
    return () if options.proxy_port is None else hosts_of(options.services)


async def _proxy(running: AsyncExitStack, options: argparse.Namespace, urls: Mapping[str, str]) -> str:
    """Start the CONNECT proxy, if there is to be one; its URL."""
    if options.proxy_port is None:
        return ""
    most = len(options.services) * options.max_connections
    proxy = RedirectingProxy(route_to(urls), host=options.host, port=options.proxy_port, max_connections=most)
    try:
        await running.enter_async_context(proxy)
    except OSError as error:
        raise _cannot_listen(options.host, options.proxy_port, error) from error
    (Path(options.certs) / "proxy.json").write_bytes(orjson.dumps({"url": proxy.url}) + b"\n")
    return proxy.url


async def _control(running: AsyncExitStack, options: argparse.Namespace, calls: Calls) -> str:
    """Start the control port, if there is to be one; its URL."""
    if options.control_port is None:
        return ""
    from fakeservers import Control  # not needed, and not waited for, without a control port

    file, host, port = options.control_token_file, options.control_host, options.control_port
    token = _attempt("cannot read the token: ", lambda: _token(file)) if file else ""
    control = _attempt("", lambda: Control(calls, host=host, port=port, token=token))
    try:
        await running.enter_async_context(control)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    url: str = control.url
    (Path(options.certs) / "control.json").write_bytes(orjson.dumps({"url": url}) + b"\n")
    return url


def _token(file: str) -> str:
    token = read_small(file).decode("ascii").strip()
    if not TOKEN_LENGTH[0] <= len(token) <= TOKEN_LENGTH[1] or not token.isprintable() or " " in token:
        raise ValueError("it is not {} to {} printable characters without a space".format(*TOKEN_LENGTH))
    return token


def _allow_files(number: int) -> None:
    """Raise this process's limit of open files, as far as the system allows: the usual limit is 1024."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < LEAST_FILES:
        raise UsageError(
            f"only {most} files may be open, and at least {LEAST_FILES} are needed; "
            "raise the limit, for example with ulimit -n 1024"
        )
    if most < number:
        print(f"fakeservers: no more than {most} files may be open, connections included", file=sys.stderr)


def _settle() -> None:
    """Exclude all objects that exist now from garbage collections: they live to the end."""
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)


def _announce(options: argparse.Namespace, urls: Mapping[str, str], control: str, proxy: str) -> None:
    """Print that the servers are ready, after warnings."""
    try:
        _print_announcement(options, urls, control, proxy)
    except OSError as error:
        abandon_output()
        raise UsageError(f"the standard output cannot be written: {_plain(error)}") from error


def _print_announcement(
    options: argparse.Namespace, urls: Mapping[str, str], control: str, proxy: str
) -> None:
    for host in {options.host, options.control_host if control else options.host}:
        if not is_loopback(host):
            print(f"fakeservers: {host} can be reached from other machines", file=sys.stderr, flush=True)
    if control:
        print(f"control on {control}")
    if proxy:
        print(f"proxy on {proxy}")
    for name in options.services:
        print(
            f"{name} listening on {urls[name]}" if len(options.services) > 1 else f"listening on {urls[name]}"
        )
        if name == "apns":
            print(f"channels on {urls['channels']}")
    if len(options.services) > 1:
        print("ready")
    sys.stdout.flush()


def _cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    name = host if len(host) <= 32 else f"({len(host)} characters)"  # it may be a secret
    return UsageError(f"cannot listen on {name} port {port}: {_plain(error)}")


def _registry(options: argparse.Namespace) -> ApnsRegistry:
    registry: ApnsRegistry = _attempt(
        "", lambda: ApnsRegistry.from_file(options.registry) if options.registry else ApnsRegistry()
    )
    registry.known_only = registry.known_only or options.known_only
    if options.environment not in (None, registry.environment):
        if registry.environment is not None:
            raise UsageError(
                f"--environment is {options.environment}, and the registry's is {registry.environment}"
            )
        registry.environment = options.environment
    return registry


def _faults(options: argparse.Namespace) -> FaultPlan | None:
    """The plan of both fakes; None for an empty one each."""
    if options.faults is None:
        return None if options.seed is None else FaultPlan(options.seed)
    plan: FaultPlan = _attempt(
        "", lambda: FaultPlan.load(options.faults, seed=options.seed, scale=options.faults_scale)
    )
    return plan


def _apns(
    options: argparse.Namespace, certs: Certificates, registry: ApnsRegistry, faults: FaultPlan | None
) -> FakeApns:
    if options.topic:
        registry.allow(certs.team_id, *options.topic)
    return FakeApns(
        options.profile,
        host=options.host,
        port=options.apns_port,
        channels_port=options.channels_port,
        delay=options.delay_ms / 1000,
        certs=certs,
        registry=registry,
        token_max_age=options.token_max_age,
        token_min_refresh=options.token_min_refresh,
        keep=0 if options.control_port is None else options.keep,
        reuse_port=options.processes > 1,
        faults=faults,
        limits=ServerLimits(max_connections=options.max_connections),
    )


def _fcm(options: argparse.Namespace, certs: Certificates, faults: FaultPlan | None) -> FakeFcm:
    file = Path(options.certs) / FILE_NAME
    account: FakeServiceAccount | None = None
    if file.exists():
        account = _attempt(
            f"cannot keep credentials in {options.certs}: ", lambda: FakeServiceAccount.from_file(file)
        )
    if account is None or options.project_id not in (None, account.project_id):
        account = FakeServiceAccount.create(options.project_id or PROJECT_ID)
    policy = FrontEndPolicy() if options.profile == "strict" else BARE_POLICY
    for name in ("session_timeout", "max_age"):
        if getattr(options, name) is not None:
            policy = replace(policy, **{name: getattr(options, name)})
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
        keep=0 if options.control_port is None else options.keep,
        reuse_port=options.processes > 1,
        faults=faults,
        limits=ServerLimits(max_connections=options.max_connections, max_body=MAX_BODY),
        policy=policy,
    )
    fake.oauth.delay = options.oauth_delay_ms / 1000
    fake.oauth.down = options.oauth_error == "unavailable"
    fake.oauth.error = "" if fake.oauth.down else options.oauth_error or ""
    return fake


def _stop_event(options: argparse.Namespace) -> asyncio.Event:
    """An event that SIGTERM, SIGINT and SIGHUP set, and with --stop-at-eof the end of the standard input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as by nohup
            loop.add_signal_handler(number, stop.set)
    if options.stop_at_eof:
        # A thread, because an event loop cannot watch a regular file. Nothing interrupts its read, so it is a daemon.
        threading.Thread(target=_wait_for_eof, args=(loop, stop), name="standard input", daemon=True).start()
    return stop


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    with contextlib.suppress(OSError):  # an input that cannot be read has ended
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop is closed: the command has ended for another reason
        loop.call_soon_threadsafe(stop.set)


def _attempt(context: str, action: Callable[[], Any]) -> Any:
    """The action's result; an error that the user can correct becomes a sentence."""
    try:
        return action()
    except (OSError, ValueError) as error:
        raise UsageError(f"{context}{_plain(error)}") from error


def _plain(error: Exception) -> str:
    number = getattr(error, "errno", None)
    said: str = (
        os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or str(error)
    )
    return said


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
