"""Fakes in several processes on one port: each accepts connections (SO_REUSEPORT), and the parent has the control port.

The parent reserves the ports, forks, and serves no pushes. Over a pipe of `multiprocessing` per process it sends the calls of
the control port to all, and combines their responses. When one process ends, all end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import multiprocessing
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, Self, TypeAlias

from fakeservers.control.problem import Problem
from fakeservers.control.service import DRAWN, Calls

ANSWERING = 10.0
"""Seconds within which every process must answer a call."""
ENDING = 5.0
"""Seconds that a process may take to end before it is killed."""
MAX_PROCESSES = 64

_OF_TERMINALS = {signal.SIGINT, signal.SIGHUP}

Answered: TypeAlias = dict[str, Any]
Pipe: TypeAlias = "Connection[Any, Any]"
Child: TypeAlias = tuple[ForkProcess, Pipe]
Work: TypeAlias = Callable[[int, Pipe], int]
"""The main function of a process: takes its number from 0 and its pipe to the parent, returns its exit code."""


async def answer_calls(pipe: Pipe, calls: Calls) -> None:
    """Answer the parent's calls until its end of the pipe is closed, also by its death."""
    while True:
        try:
            name, arguments = await asyncio.to_thread(pipe.recv)
        except (EOFError, ConnectionError):
            return
        try:
            pipe.send((await calls.call(name, arguments), None))
        except Problem as problem:
            pipe.send((None, (problem.status, problem.detail)))


def reserve(host: str, port: int) -> socket.socket:
    """Reserve a port that processes can share, by a socket that does not listen; port 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on, or is in use.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if port:  # with SO_REUSEPORT alone it would be shared with another run
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    held = socket.socket(family, kind)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
    except BaseException:
        held.close()
        raise
    return held


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fork(number: int, work: Work) -> list[Child]:
    """Fork processes that run `work`. Returns each with the parent's end of its pipe. No event loop may run yet.

    They are forked, not spawned, and so share open ports and credentials.
    """
    context = multiprocessing.get_context("fork")
    children: list[Child] = []
    for index in range(number):
        parents_end, childs_end = context.Pipe()
        inherited = [parents_end, *(pipe for _, pipe in children)]
        process = context.Process(target=_work, args=(work, index, childs_end, inherited), daemon=True)
        # Ctrl-C and the end of a terminal go to all processes. Until a child ignores them, they wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        childs_end.close()
        children.append((process, parents_end))
    return children


def _work(work: Work, index: int, pipe: Pipe, inherited: Sequence[Pipe]) -> None:
    for number in _OF_TERMINALS:
        signal.signal(number, signal.SIG_IGN)  # the parent ends us
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_TERMINALS)
    for parents_end in inherited:  # an open copy here would outlive the parent
        parents_end.close()
    try:
        sys.exit(work(index, pipe))
    except ConnectionError:
        sys.exit(1)  # the parent has ended before it heard from us


class ServerProcesses:
    """The processes of one run: `call` asks all and combines the responses. They end with the `async with` block.

    Args:
        children: what `fork` returned.
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self._children = children
        self._locks = [asyncio.Lock() for _ in children]
        self.ended = asyncio.Event()
        """Set when a process has ended."""

    async def __aenter__(self) -> Self:
        for process, _ in self._children:
            asyncio.get_running_loop().add_reader(process.sentinel, self._on_end, process.sentinel)
        return self

    async def __aexit__(self, *_: object) -> None:
        for process, pipe in self._children:
            asyncio.get_running_loop().remove_reader(process.sentinel)
            pipe.close()
        until = time.monotonic() + ENDING
        for process in (child[0] for child in self._children):
            await asyncio.to_thread(process.join, max(0.0, until - time.monotonic()))
            process.kill()
            process.join()

    def _on_end(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self.ended.set()

    async def first_messages(self) -> list[Any]:
        """Wait for the first message of every process: that it serves, or why it cannot."""
        messages = await asyncio.gather(
            *(asyncio.to_thread(child[1].recv) for child in self._children), return_exceptions=True
        )
        silent = {"trouble": "one of the processes has ended before it listened"}
        return [silent if isinstance(message, BaseException) else message for message in messages]

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answered:
        """See `Calls`."""
        if name == "received":
            return await self._received(dict(arguments))
        responses = await self._ask(name, arguments)
        if name == "snapshot":
            return _add_up(responses, arguments.get("notifications", DRAWN))
        if name in ("clear_received", "clear_channels"):
            return {"cleared": sum(response["cleared"] for response in responses)}
        if name == "faults":
            return {**responses[0], "faults": _faults(responses)}
        return responses[0]

    async def _received(self, arguments: Answered) -> Answered:
        offset, limit = arguments.pop("offset", 0), arguments.pop("limit", 100)
        responses = await self._ask("received", {**arguments, "limit": offset + limit})
        records = [record for response in responses for record in response["received"]]
        records.sort(key=lambda record: -record["time"])
        return {
            "received": records[offset : offset + limit],
            "matching": sum(response["matching"] for response in responses),
        }

    async def _ask(self, name: str, arguments: Mapping[str, Any]) -> list[Answered]:
        """The responses of all processes; when all have responded, the first `Problem` is raised."""
        responses = await asyncio.gather(
            *(self._ask_one(index, name, arguments) for index in range(len(self._children))),
            return_exceptions=True,
        )
        for response in responses:
            if isinstance(response, BaseException):
                raise response
        return [response for response in responses if not isinstance(response, BaseException)]

    async def _ask_one(self, index: int, name: str, arguments: Mapping[str, Any]) -> Answered:
        pipe = self._children[index][1]

        def exchange() -> tuple[Answered, tuple[int, str] | None]:
            pipe.send((name, dict(arguments)))
            response: tuple[Answered, tuple[int, str] | None] = pipe.recv()
            return response

        try:
            async with self._locks[index], asyncio.timeout(ANSWERING):
                answered, problem = await asyncio.to_thread(exchange)
        except (EOFError, OSError, TimeoutError):
            self.ended.set()
            raise Problem(503, "one of the processes does not answer") from None
        if problem is not None:
            raise Problem(*problem)
        return answered


def _add_up(snapshots: Sequence[Answered], notifications: int) -> Answered:
    """Combine the snapshots of all processes."""
    services = {
        name: _add_up_service([snapshot["services"][name] for snapshot in snapshots])
        for name in snapshots[0]["services"]
    }
    latest = [notification for snapshot in snapshots for notification in snapshot["notifications"]]
    latest.sort(key=lambda notification: -notification["time"])
    return {
        **snapshots[0],
        "services": services,
        "notifications": latest[:notifications],
        "processes": [pid for snapshot in snapshots for pid in snapshot["processes"]],
        "faults": _faults(snapshots),
    }


def _add_up_service(services: Sequence[Answered]) -> Answered:
    answers: Counter[tuple[int, str]] = Counter()
    for service in services:
        for row in service["answers"]:
            answers[row["status"], row["reason"]] += row["count"]
    first = services[0]
    counters = [name for name, value in first.items() if isinstance(value, int)]
    latencies = [service["latency"] for service in services]
    buckets = [sum(column) for column in zip(*(latency["buckets"] for latency in latencies), strict=True)]
    return {
        **first,
        **{name: sum(service[name] for service in services) for name in counters},
        "answers": [
            {"status": status, "reason": reason, "count": count}
            for (status, reason), count in answers.items()
        ],
        "latency": {"buckets": buckets, "seconds": sum(latency["seconds"] for latency in latencies)},
    }


def _faults(responses: Sequence[Answered]) -> list[Answered]:
    """The faults, which all processes share, with the hits of all."""
    hits: Counter[str] = Counter()
    in_force: set[str] = set()
    for response in responses:
        for fault in response["faults"]:
            hits[fault["id"]] += fault["hits"]
            if fault["in_force"]:
                in_force.add(fault["id"])
    return [
        {**fault, "hits": hits[fault["id"]], "in_force": fault["id"] in in_force}
        for fault in responses[0]["faults"]
    ]
