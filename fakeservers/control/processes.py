"""Fakes in several processes on one port: each accepts for itself (SO_REUSEPORT), and one parent speaks for all of them.

The parent reserves the ports, forks, and serves no pushes. Over a socket pair per process it sends the calls of the
control port to all and makes one answer of theirs. A process that ends by itself ends them all.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Self, TypeAlias

import orjson

from fakeservers.control.problem import Problem
from fakeservers.control.service import DRAWN, Calls

ANSWERING = 10.0
"""Seconds within which every process must answer a call."""
LOOKING = 0.25
"""Seconds between two looks whether every process is still there."""
ENDING = 5.0
"""Seconds that a process may take to end; then it is killed."""
MAX_PROCESSES = 64
_SIZE = 4

Answered: TypeAlias = dict[str, Any]
Work: TypeAlias = Callable[[int, "MessageSocket"], int]
"""What a process does, with its number from 0 and its line to the parent; gives its exit code."""


class MessageSocket:
    """One end of a socket pair: JSON documents, each with its length in front."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self) -> None:
        """Use the running loop from now on."""
        self._reader, self._writer = await asyncio.open_connection(sock=self.socket)

    def close(self) -> None:
        """Say nothing more; the other end reads the end."""
        self._writer.close()

    async def send(self, document: Any) -> None:
        """Send one document."""
        data = orjson.dumps(document)
        self._writer.write(len(data).to_bytes(_SIZE, "big") + data)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Any:
        """The next document.

        Raises:
            EOFError: the other end has ended.
        """
        try:
            size = int.from_bytes(await self._reader.readexactly(_SIZE), "big")
            return orjson.loads(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError("the other process has ended") from None


async def answer_calls(line: MessageSocket, calls: Calls) -> None:
    """Answer the parent's calls until it ends or wants no more."""
    while True:
        try:
            name, arguments = await line.receive()
        except EOFError:
            return
        try:
            found = await calls.call(name, arguments)
        except Problem as problem:
            await line.send({"problem": [problem.status, problem.detail]})
        else:
            await line.send({"answer": found})


def reserve(host: str, port: int) -> socket.socket:
    """A port that processes can share, held by a socket that does not listen; port 0 takes a free one.

    Raises:
        OSError: the address cannot be listened on, or somebody else uses it.
    """
    family, kind, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    if port:  # with SO_REUSEPORT alone we would quietly share it with another run
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
    """Whether only this machine can reach what listens on this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def fork(number: int, work: Work) -> list[tuple[int, MessageSocket]]:
    """So many processes that do this work: their ids, and our ends of the lines to them. No loop may run yet."""
    children: list[tuple[int, MessageSocket]] = []
    for each in range(number):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            for _, line in children:
                line.socket.close()
            _be_child(work, each, MessageSocket(theirs))
        theirs.close()
        children.append((pid, MessageSocket(ours)))
    return children


def _be_child(work: Work, number: int, line: MessageSocket) -> NoReturn:
    code = 1
    try:
        code = work(number, line)
    except KeyboardInterrupt:
        pass
    except BaseException:
        traceback.print_exc()  # nobody else will: the process ends here
        sys.stderr.flush()
    finally:
        os._exit(code)  # what the parent registered for its own end is not ours to do


class Workers:
    """The processes of one run, as the control port sees them: `call` asks all and adds up. They end with its block.

    Args:
        children: what `fork` gave.
    """

    def __init__(self, children: Sequence[tuple[int, MessageSocket]]) -> None:
        self._children = children
        self._turns = [asyncio.Lock() for _ in children]
        self.ended = asyncio.Event()
        """Set when a process has ended."""

    async def __aenter__(self) -> Self:
        for _, line in self._children:
            await line.open()
        self._watch = asyncio.create_task(self._watch_over())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        for each in self._children:
            each[1].close()
        for each in self._children:
            await _reap(each[0])

    async def first_words(self) -> list[Any]:
        """Wait until every process has said that it serves, or why it cannot; what they said."""
        found = await asyncio.gather(*(line.receive() for _, line in self._children), return_exceptions=True)
        silent = {"trouble": "one of the processes has ended before it listened"}
        return [silent if isinstance(each, BaseException) else each for each in found]

    async def _watch_over(self) -> None:
        while not self.ended.is_set():
            await asyncio.sleep(LOOKING)
            for pid, _ in self._children:
                if _has_ended(pid):
                    self.ended.set()

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Answered:
        """See `Calls`."""
        if name == "received":
            return await self._received(dict(arguments))
        found = await self._ask(name, arguments)
        if name == "snapshot":
            return _add_up(found, arguments.get("notifications", DRAWN))
        if name in ("clear_received", "clear_channels"):
            return {"cleared": sum(each["cleared"] for each in found)}
        if name == "faults":
            return {**found[0], "faults": _faults(found)}
        return found[0]

    async def _received(self, arguments: Answered) -> Answered:
        offset, limit = arguments.pop("offset", 0), arguments.pop("limit", 100)
        found = await self._ask("received", {**arguments, "limit": offset + limit})
        records = [each for answer in found for each in answer["received"]]
        records.sort(key=lambda each: -each["time"])
        return {
            "received": records[offset : offset + limit],
            "matching": sum(each["matching"] for each in found),
        }

    async def _ask(self, name: str, arguments: Mapping[str, Any]) -> list[Answered]:
        """Everybody's answer; the first problem among them is raised when all have answered."""
        asked: list[Awaitable[Answered]] = [
            self._ask_one(at, name, arguments) for at in range(len(self._children))
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [each for each in found if not isinstance(each, BaseException)]

    async def _ask_one(self, at: int, name: str, arguments: Mapping[str, Any]) -> Answered:
        line = self._children[at][1]
        try:
            async with self._turns[at], asyncio.timeout(ANSWERING):
                await line.send([name, arguments])
                answer = await line.receive()
        except (EOFError, TimeoutError):
            self.ended.set()
            raise Problem(503, "one of the processes does not answer") from None
        if "problem" in answer:
            raise Problem(*answer["problem"])
        found: Answered = answer["answer"]
        return found


def _add_up(found: Sequence[Answered], notifications: int) -> Answered:
    """One snapshot made of everybody's."""
    services = {
        name: _add_up_service([each["services"][name] for each in found]) for name in found[0]["services"]
    }
    shown = sorted(
        (each for answer in found for each in answer["notifications"]), key=lambda each: -each["time"]
    )
    return {
        **found[0],
        "services": services,
        "notifications": shown[:notifications],
        "processes": [pid for each in found for pid in each["processes"]],
        "faults": _faults(found),
    }


def _add_up_service(found: Sequence[Answered]) -> Answered:
    answers: Counter[tuple[int, str]] = Counter()
    for each in found:
        for answer in each["answers"]:
            answers[answer["status"], answer["reason"]] += answer["count"]
    first = found[0]
    sums = {
        name: sum(each[name] for each in found) for name, value in first.items() if isinstance(value, int)
    }
    buckets = [sum(each) for each in zip(*(each["latency"]["buckets"] for each in found), strict=True)]
    return {
        **first,
        **sums,
        "answers": [
            {"status": status, "reason": reason, "count": count}
            for (status, reason), count in answers.items()
        ],
        "latency": {"buckets": buckets, "seconds": sum(each["latency"]["seconds"] for each in found)},
    }


def _faults(found: Sequence[Answered]) -> list[Answered]:
    """The faults of one, which are everybody's, with everybody's hits."""
    hits: Counter[str] = Counter()
    in_force: set[str] = set()
    for answer in found:
        for fault in answer["faults"]:
            hits[fault["id"]] += fault["hits"]
            if fault["in_force"]:
                in_force.add(fault["id"])
    return [
        {**fault, "hits": hits[fault["id"]], "in_force": fault["id"] in in_force}
        for fault in found[0]["faults"]
    ]


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:  # we know already
        return True


async def _reap(pid: int) -> None:
    """Wait for a child, and kill it when it does not end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ENDING
    while not _has_ended(pid):
        if loop.time() > until:
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.01)
