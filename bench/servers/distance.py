"""A distant server: netem in its own network namespace if root and the kernel allow it, otherwise a relay."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from ..harness.stage import SERVER_CORE, CannotMeasure, Target, end, first_line, start_on
from . import constant

WAYS: Final = ("auto", "netem", "relay")
QUEUE: Final = 1_000_000
"""Packets that netem may hold: it drops those beyond, and losses are not what is measured."""


def netem_commands(name: str, rtt_ms: float) -> list[list[str]]:
    """The commands that make a namespace with this delay on its loopback; server and client both run in it."""
    inside = ["ip", "netns", "exec", name]
    return [
        ["ip", "netns", "add", name],
        [*inside, "ip", "link", "set", "lo", "up"],
        # Every packet crosses the loopback once, so half of the round trip for each.
        [
            *(*inside, "tc", "qdisc", "add", "dev", "lo", "root", "netem"),
            *("delay", f"{rtt_ms / 2:g}ms", "limit", str(QUEUE)),
        ],
    ]


@contextlib.contextmanager
def namespace(rtt_ms: float) -> Iterator[list[str]]:
    """A new namespace; yields the first words of a command that runs in it.

    Raises `CannotMeasure` if this machine cannot make one: not root, no `ip` or `tc`, or a kernel without netem.
    """
    for tool in ("ip", "tc"):
        if shutil.which(tool) is None:
            raise CannotMeasure(f"netem needs {tool}: Debian's package iproute2")
    if os.geteuid() != 0:
        raise CannotMeasure("netem needs root")
    name = f"pushcore-bench-{os.getpid()}"
    try:
        for command in netem_commands(name, rtt_ms):
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
            if done.returncode:
                raise CannotMeasure(f"no netem here: {done.stderr.strip()[-200:]}")
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, timeout=30, check=False)


@contextlib.contextmanager
def relay(target: Target, rtt_ms: float) -> Iterator[Target]:
    """The same server behind `bench.servers.relay`, on the server's core."""
    port = target.url.rpartition(":")[2]
    process = start_on(
        SERVER_CORE,
        [sys.executable, "-m", "bench.servers.relay", port, str(rtt_ms / 2)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        line = first_line(process)
        if not line.startswith("listening on "):
            raise CannotMeasure("the relay did not start; what it said is above")
        yield replace(target, url=f"https://127.0.0.1:{int(line.split()[-1])}", relay=process.pid)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        end(process)


def why_no_netem() -> str | None:
    """Why `namespace` does not work here; None if it does."""
    try:
        with namespace(1.0):
            return None
    except CannotMeasure as error:
        return str(error)


@contextlib.contextmanager
def distant(
    kind: str,
    provider: str,
    *,
    rtt_ms: float,
    way: str,
    window: str = "apple",
    updates: str = "half",
    delay_ms: float = 0.0,
) -> Iterator[Target]:
    """A server of this kind (see `constant.target`) with this round trip in milliseconds. `way`: not `auto`."""
    if way == "netem":
        with (
            namespace(rtt_ms) as inside,
            constant.target(
                kind, provider, window=window, updates=updates, delay_ms=delay_ms, inside=inside
            ) as target,
        ):
            yield target
    else:
        near = constant.target(kind, provider, window=window, updates=updates, delay_ms=delay_ms)
        with near as target, relay(target, rtt_ms) as far:
            yield far
