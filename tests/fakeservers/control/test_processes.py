"""`--processes N`: one port, one set of counters, one control page; a process that ends, ends them all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakeservers import FakeFcm, fated_token
from fakeservers.__main__ import main
from fakeservers.control.processes import reserve
from fakeservers.fcm.oauth import OAuthServer
from tests.fakeservers.client import Client, headers_for, provider_token
from tests.fakeservers.control_client import Answer, ask, ask_now

DEADLINE = 60.0


@contextlib.contextmanager
def running(place: Path, *arguments: str, service: str = "all") -> Iterator[SimpleNamespace]:
    """The command with two processes, its files read; killed at the end if it still runs."""
    command = [sys.executable, "-m", "fakeservers", service, "--certs", str(place), "--processes", "2"]
    command += ["--control-port", "0", *arguments]
    last = "ready\n" if service == "all" else "listening on "
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith(last):
                    break
            content = {file.stem: json.loads(file.read_text()) for file in place.glob("*.json")}
            assert lines[0] == f"control on {content['control']['url']}\n", lines
            services = {name: content.get(name) for name in ("apns", "fcm")}
            yield SimpleNamespace(process=process, control=content["control"]["url"], **services)
        finally:
            process.kill()


def as_fake(config: dict[str, str]) -> Any:
    """What the test client wants to know of a fake."""
    return SimpleNamespace(**config)


async def push(apns: Any, devices: list[str]) -> list[int]:
    """Push on one connection."""
    token = provider_token(apns)
    async with await Client.connect(apns) as client:
        return [(await client.push(headers_for(apns, token, device))).status for device in devices]


async def test_one_port_one_set_of_counters_and_one_page(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        apns = as_fake(run.apns)
        devices = ["ab" * 32, fated_token("Unregistered")]
        # Which process takes a connection is a matter of chance: sixteen of them leave no process out, but for 1 in 32 768.
        assert await asyncio.gather(*(push(apns, devices) for _ in range(16))) == [[200, 410]] * 16

        counters = (await ask(run.control, "GET", "/v1/counters")).json
        result = counters["services"]["apns"]
        assert result["requests"] == 32
        assert result["connections_accepted"] == 16
        assert sorted(row["count"] for row in result["answers"]) == [16, 16]
        assert result["latency"]["answers"] == 32
        assert len(set(counters["processes"])) == 2
        assert run.process.pid not in counters["processes"]

        pages = [
            (await ask(run.control, "GET", f"/v1/received?limit=10&offset={at}")).json
            for at in range(0, 40, 10)
        ]
        assert [len(page["received"]) for page in pages] == [10, 10, 10, 2]
        assert {page["matching"] for page in pages} == {32}
        times = [record["time"] for page in pages for record in page["received"]]
        assert times == sorted(times, reverse=True)

        body = {"devices": [{"token": "ab" * 32, "fate": "BadDeviceToken"}]}
        assert (await ask(run.control, "POST", "/v1/apns/devices", body)).status == 200
        assert await asyncio.gather(*(push(apns, devices[:1]) for _ in range(16))) == [[400]] * 16
        fault = {"id": "busy", "what": {"kind": "answer", "reason": "Shutdown"}, "when": {"provider": "apns"}}
        assert (await ask(run.control, "POST", "/v1/faults", fault)).status == 201
        assert await asyncio.gather(*(push(apns, devices[:1]) for _ in range(16))) == [[503]] * 16
        (listed,) = (await ask(run.control, "GET", "/v1/faults")).json["faults"]
        assert listed["hits"] == 16
        assert (await ask(run.control, "POST", "/v1/faults", fault)).status == 409
        assert (await ask(run.control, "DELETE", "/v1/received")).json == {"cleared": 64}

        page = await ask(run.control, "GET", "/")
        assert b"Fake push services" in page.body
        run.process.terminate()
        assert run.process.wait(DEADLINE) == 0
        assert run.process.stderr.read() == ""


async def test_a_channel_made_by_one_process_is_known_to_all(tmp_path: Path) -> None:
    with running(tmp_path, service="apns") as run:
        apns: Any = as_fake(run.apns)
        token = provider_token(apns)
        management: Any = SimpleNamespace(url=apns.channels_url, ca_file=apns.ca_file)
        async with await Client.connect(management) as client:
            path = f"/1/apps/{apns.topic}/channels"
            body = b'{"message-storage-policy":1,"push-type":"LiveActivity"}'
            made = await client.push(headers_for(apns, token, path=path), body)
        channel_id = made.headers["apns-channel-id"]

        async def broadcast() -> int:
            async with await Client.connect(apns) as client:
                headers = headers_for(
                    apns,
                    token,
                    path=f"/4/broadcasts/apps/{apns.topic}",
                    apns_channel_id=channel_id,
                    apns_push_type="liveactivity",
                    apns_expiration="0",
                    apns_priority="10",
                )
                return (await client.push(headers)).status

        # Sixteen connections leave no process out, but for 1 run in 32 768.
        assert await asyncio.gather(*(broadcast() for _ in range(16))) == [200] * 16
        path = f"/v1/apns/channels/{apns.topic}"
        content = (await ask(run.control, "GET", path)).json["channels"]
        assert content == [{"channel_id": channel_id, "policy": 1}]
        assert (await ask(run.control, "DELETE", path)).json == {"cleared": 1}
        assert await asyncio.gather(*(broadcast() for _ in range(16))) == [400] * 16


def test_an_access_token_of_one_process_is_good_in_the_other(tmp_path: Path) -> None:
    with running(tmp_path, service="all") as run:
        google = pytest.importorskip("google.oauth2.service_account")
        requests = pytest.importorskip("requests")
        transport = pytest.importorskip("google.auth.transport.requests")
        credentials = google.Credentials.from_service_account_file(
            run.fcm["service_account_file"], scopes=["https://www.googleapis.com/auth/firebase.messaging"]
        )
        with requests.Session() as session:
            session.verify, session.trust_env = run.fcm["ca_file"], False
            credentials.refresh(transport.Request(session))
        url = f"{run.fcm['url']}/v1/projects/{run.fcm['project_id']}/messages:send"
        body = {"message": {"token": "x:APA91b", "data": {"a": "b"}}}
        for _ in range(12):  # each on a connection of its own
            answer = requests.post(
                url,
                json=body,
                headers={"Authorization": f"Bearer {credentials.token}"},
                verify=run.fcm["ca_file"],
                timeout=10,
            )
            assert answer.status_code == 200
        ask_now(run.control, "PATCH", "/v1/fcm/oauth", {"tokens": "expire"})
        statuses = set()
        for _ in range(12):
            answer = requests.post(
                url,
                json=body,
                headers={"Authorization": f"Bearer {credentials.token}"},
                verify=run.fcm["ca_file"],
                timeout=10,
            )
            statuses.add(answer.status_code)
        assert statuses == {401}


def test_a_token_is_known_by_its_signature() -> None:
    now = 1000.0
    account = FakeFcm().account
    first = OAuthServer(account, now=lambda: now)
    second = OAuthServer(account, now=lambda: now)
    for item in (first, second):
        item.share(b"secret" * 6)
    token = first.issue(lifetime=60)
    assert second.check(f"Bearer {token}".encode()) == ""
    now += 61
    assert second.check(f"Bearer {token}".encode()) == "ACCESS_TOKEN_EXPIRED"
    token = first.issue()
    second.expire_all()
    assert second.check(f"Bearer {token}".encode()) == "ACCESS_TOKEN_EXPIRED"
    second.forget_all()
    assert second.check(f"Bearer {token}".encode()) == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    assert first.check(f"Bearer {token}".encode()) == ""
    for bad in (token[:-1], token + "A", token[:60] + "x" + token[61:], "ya29.c.", "ya29.c.é", ""):
        assert second.check(f"Bearer {bad}".encode()) != ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_of_them(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path, service="apns") as run:
        processes = ask_now(run.control, "GET", "/v1/counters").json["processes"]
        run.process.send_signal(number)
        assert run.process.wait(DEADLINE) == 0
        assert not any(is_alive(pid) for pid in processes)


def test_when_the_parent_is_killed_nobody_stays(tmp_path: Path) -> None:
    with running(tmp_path, service="apns") as run:
        processes = ask_now(run.control, "GET", "/v1/counters").json["processes"]
        run.process.kill()
        until = time.monotonic() + DEADLINE
        while any(is_alive(pid) for pid in processes):
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("work", "status"),
    [
        ("while True: pipe.send(index)", 1),  # the parent has ended
        ("return signal.getsignal(signal.SIGINT) is not signal.SIG_IGN", 0),
        ("return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN", 0),
        ("return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())", 0),
    ],
)
def test_a_process_says_nothing_when_its_parent_ends_or_the_terminal_interrupts(
    work: str, status: int
) -> None:
    """A second Ctrl-C while they start ends the parent before a process has told it its ports."""
    program = f"""
import signal
from fakeservers.control.processes import fork
def work(index, pipe):
    {work}
[(child, pipe)] = fork(1, work)
pipe.close()
child.join()
raise SystemExit(child.exitcode)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (status, "")


@pytest.mark.parametrize(
    "kind", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.slow)], ids=lambda kind: kind.name
)
def test_when_one_of_them_is_killed_or_does_not_answer_the_run_ends_and_says_so(
    kind: signal.Signals, tmp_path: Path
) -> None:
    with running(tmp_path, service="apns") as run:
        processes = ask_now(run.control, "GET", "/v1/counters").json["processes"]
        os.kill(processes[0], kind)
        assert run.process.wait(DEADLINE) == 1
        assert run.process.stderr.read() == "fakeservers: one of the processes has ended\n"
        assert not any(is_alive(pid) for pid in processes)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("option", ["--port", "--control-port"])
def test_a_port_in_use(option: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "fakeservers", "apns", "--certs", str(tmp_path), "--processes", "2"]
        done = subprocess.run([*command, option, port], capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fakeservers: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


def test_a_port_that_another_run_shares_is_in_use_too() -> None:
    with reserve("127.0.0.1", 0) as held:
        held.listen()
        with pytest.raises(OSError, match="in use"):
            reserve("127.0.0.1", held.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--processes", "0"], "0 is not from 1 to 64"),
        (["--processes", "65"], "65 is not from 1 to 64"),
        (["--processes", "x"], "'x' is not a number"),
        (["--keep", "9999999"], "9999999 is more than 1000000"),
        (["--control-port", "70000"], "there is no port 70000"),
    ],
)
def test_numbers_that_make_no_sense(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["apns", "--certs", "unused", *arguments])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read the token: No such file or directory"),
        ("short", "cannot read the token: it is not 16 to 200 printable characters without a space"),
        ("with a space in the middle", "cannot read the token: it is not 16 to 200"),
        ("é" * 20, "cannot read the token: "),
    ],
)
def test_a_token_file_that_is_none(
    content: str | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    arguments = ["apns", "--certs", str(tmp_path), "--control-port", "0", "--control-token-file", str(file)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_a_control_port_that_others_reach_needs_a_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["apns", "--certs", str(tmp_path), "--control-port", "0", "--control-host", "0.0.0.0"]) == 2
    assert "a control port there needs a token" in capsys.readouterr().err
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    with running(
        tmp_path, "--control-host", "0.0.0.0", "--control-token-file", str(tmp_path / "token"), service="apns"
    ) as run:
        url = run.control.replace("0.0.0.0", "127.0.0.1")
        assert ask_now(url, "GET", "/v1/state").status == 401
        headers = {"Authorization": "Bearer a-token-of-some-length"}
        answer: Answer = ask_now(url, "GET", "/v1/state", headers=headers)
        assert answer.status == 200
        run.process.terminate()
        assert run.process.stderr.read() == "fakeservers: 0.0.0.0 can be reached from other machines\n"
