"""`python -m fakeservers apns` as a process, and foreign clients against it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns
from fakeservers.__main__ import main
from fakeservers.certs import Certificates
from tests.fakeservers.client import DEVICE, PAYLOAD, headers_for, provider_token

DEADLINE = 60.0


@contextlib.contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command and the URL of its ready line; killed at the end if it still runs."""
    command = [sys.executable, "-m", "fakeservers", "apns", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(r"listening on (https://\S+:\d+)\n", line)
            assert match, (line, process.stderr.read() if process.stderr else "")
            assert re.fullmatch(r"channels on https://\S+:\d+\n", process.stdout.readline())
            yield process, match[1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_from_ready_line_to_signal(number: signal.Signals, tmp_path: Path) -> None:
    place = tmp_path / "new" / "certs"
    with running("--certs", str(place), "--topic", "com.example.one", "--topic", "com.example.two") as (
        process,
        url,
    ):
        config = json.loads((place / "apns.json").read_text())
        assert config == {
            "url": url,
            "channels_url": config["channels_url"],
            "ca_file": str(place / "ca.pem"),
            "key_file": str(place / "AuthKey_FAKEKEY001.p8"),
            "key_id": "FAKEKEY001",
            "team_id": "FAKETEAM01",
            "topic": "com.example.one",
        }
        modes = {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()}
        assert {name for name, mode in modes.items() if mode == 0o600} == {
            "ca-key.pem",
            "server.pem",
            "AuthKey_FAKEKEY001.p8",
        }
        process.send_signal(number)
        rest, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("extra", [[], ["--processes", "2"]], ids=len)
def test_it_can_end_with_its_standard_input(extra: list[str], tmp_path: Path) -> None:
    """As that of a child ends whose parent was killed."""
    command = [sys.executable, "-m", "fakeservers", "all", "--certs", str(tmp_path), "--stop-at-eof", *extra]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("it may say something\n")
            process.stdin.flush()
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
            rest, errors = process.communicate(timeout=DEADLINE)  # which closes its input
        finally:
            process.kill()
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize("redirection", ["</dev/null", "<&-", "<pyproject.toml"])
def test_a_standard_input_that_is_no_pipe_ends_as_well(redirection: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fakeservers", "apns", "--certs", str(tmp_path), "--stop-at-eof"]
    script = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command], capture_output=True, text=True, timeout=DEADLINE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("listening on ")


def test_a_restart_keeps_the_credentials(tmp_path: Path) -> None:
    kept = []
    for _ in range(2):
        with running("--certs", str(tmp_path)):
            kept.append([(tmp_path / name).read_bytes() for name in ("ca.pem", "AuthKey_FAKEKEY001.p8")])
    assert kept[0] == kept[1]


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says on stderr when it cannot start; it must be one line."""
    assert main(["apns", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("registry", "complaint"),
    [
        ("{", "is not JSON"),
        ("[]", "not an object"),
        ('{"device": {}}', "unknown key 'device'"),
        ('{"devices": {"aa": {"state": 1}}}', "unknown key 'state'"),
        ('{"devices": {"xy": {}}}', "cannot be used"),
        ('{"devices": {"aa": {"fate": "Luck"}}}', "unknown fate 'Luck'"),
        ('{"devices": {"aa": {"since": "now"}}}', "whole milliseconds"),
        (
            '{"keys": [{"key_id": "K", "team_id": "T", "file": "x", "topics": "a.b"}]}',
            "not a list of strings",
        ),
        ('{"teams": {"T": "com.example"}}', "not a list of strings"),
        ('{"keys": [{"key_id": "K"}]}', "needs key_id, team_id and file"),
        ('{"keys": [{"key_id": "K", "team_id": "T", "file": "none.pem"}]}', "none.pem"),
        ('{"environment": "moon"}', "unknown environment 'moon'"),
        ('{"known_only": 1}', "known_only"),
        ('{"channels": {"a.b": {"no base64": 0}}}', "a channel id is base64"),
        ('{"channels": {"a.b": {"Zm9v": 2}}}', "policy is 0"),
        (None, "cannot read the registry file"),
    ],
)
def test_a_bad_registry_file(
    registry: str | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "registry.json"
    if registry is not None:
        file.write_text(registry)
    assert complaint in failure(capsys, "--certs", str(tmp_path / "certs"), "--registry", str(file))


@pytest.mark.parametrize("option", ["--faults", "--registry", "--control-token-file"])
def test_what_is_no_small_file_is_not_waited_for(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name, expected in (
            ("pipe", "it is a pipe that no process writes to"),
            ("socket", "No such device or address"),
            (".", "Is a directory"),
            ("large", "large has more than 16777216 bytes"),
            ("/dev/zero", "zero has more than 16777216 bytes"),
        ):
            said = failure(
                capsys,
                *("--certs", str(tmp_path / "certs"), "--control-port", "0"),
                *(option, str(tmp_path / name)),
            )
            assert expected in said


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "AuthKey_ABC123DEFG.p8"])
def test_a_pipe_among_the_credentials_is_not_waited_for(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Certificates.create(tmp_path, key_id="ABC123DEFG")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    assert "cannot keep credentials" in failure(capsys, "--certs", str(tmp_path))


@pytest.mark.parametrize(
    "option",
    [
        "--fcm-port",
        "--channels-port",
        "--proxy-port",
        "--control-port",
        "--control-port=1 --control-host=::1",
    ],
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_of_two_listeners(
    option: str, processes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, rest = option.partition("=1 ")
    words = [f"{name}=1", *([rest, "--proxy-port=1", "--host=::1"] if rest else ["--apns-port=1"])]
    assert main(["all", "--certs", str(tmp_path), "--processes", processes, *words]) == 2
    host = "::1" if rest else "127.0.0.1"
    said = f"fakeservers: port 1 of {host} is given twice; expected different ports\n"
    assert capsys.readouterr().err == said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--port", "--channels-port"])
def test_a_port_in_use(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        message = failure(capsys, "--certs", str(tmp_path), option, port)
    assert message == f"fakeservers: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_an_address_that_is_not_ours(host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot listen on" in failure(capsys, "--certs", str(tmp_path), "--host", host)


@pytest.mark.parametrize(
    ("option", "value"), [("--port", "99999"), ("--port", "-1"), ("--delay-ms", "nan"), ("--profile", "lax")]
)
def test_a_value_that_makes_no_sense(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["apns", "--certs", "unused", f"{option}={value}"])
    assert ended.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err


def test_credentials_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "cannot keep credentials" in failure(capsys, "--certs", str(tmp_path / "file"))
    for name in ("ca.pem", "ca-key.pem", "AuthKey_ABC.p8"):
        (tmp_path / name).write_text("nonsense")
    assert "cannot keep credentials" in failure(capsys, "--certs", str(tmp_path))


def test_other_machines_are_a_warning(tmp_path: Path) -> None:
    with running("--certs", str(tmp_path), "--host", "0.0.0.0") as (process, url):
        assert url.startswith("https://0.0.0.0:")
        process.terminate()
        _, errors = process.communicate(timeout=DEADLINE)
    assert errors == "fakeservers: 0.0.0.0 can be reached from other machines\n"


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["apns", "--help"])
    assert ended.value.code == 0
    assert "listening on https://HOST:PORT" in " ".join(capsys.readouterr().out.split())


@pytest.mark.needs("curl")
def test_a_world_from_a_file_is_served(tmp_path: Path) -> None:
    registry = {
        "devices": {"aa": {}, "bb": {"fate": "Unregistered", "since": 5}},
        "teams": {"FAKETEAM01": ["a.b"]},
    }
    (tmp_path / "registry.json").write_text(json.dumps(registry))
    place = tmp_path / "certs"
    with running("--certs", str(place), "--registry", str(tmp_path / "registry.json"), "--known-only") as (
        _,
        url,
    ):
        assert json.loads((place / "apns.json").read_text())["topic"] == "a.b"
        command = [
            "curl",
            "-sS",
            "--http2",
            "--cacert",
            str(place / "ca.pem"),
            "-d",
            "{}",
            f"{url}/3/device/bb",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
        assert done.stdout == '{"reason":"MissingProviderToken"}'


async def output_of(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1)
    async with asyncio.timeout(DEADLINE):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors
    return out.decode()


def as_options(headers: list[tuple[str, str]]) -> list[str]:
    return [part for name, value in headers if name[0] != ":" for part in ("-H", f"{name}: {value}")]


@pytest.mark.needs("curl")
async def test_curl() -> None:
    async with FakeApns() as fake:
        options = ["-sS", "--http2", "--cacert", fake.ca_file, "-d", PAYLOAD.decode()]
        options += as_options(headers_for(fake, provider_token(fake)))
        url = fake.url.replace("127.0.0.1", "localhost")
        out = await output_of("curl", "-i", *options, f"{url}/3/device/{DEVICE}")
        assert re.match(r"HTTP/2 200 \r\napns-id: [0-9A-F-]{36}\r\n", out)
        out = await output_of(
            "curl", *options, "-w", " %{http_code} %{content_type}", f"{fake.url}/3/device/xyz"
        )
        assert out == '{"reason":"BadDeviceToken"} 400 application/json'


@pytest.mark.needs("h2load")
@pytest.mark.parametrize("profile", ["strict", "bare"])
async def test_h2load(profile: str, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes(PAYLOAD)
    async with FakeApns(profile) as fake:
        options = ["-n", "5000", "-c", "2", "-m", "1000", "-d", str(body)]
        options += as_options(headers_for(fake, provider_token(fake)))
        out = await output_of("h2load", *options, f"{fake.url}/3/device/{DEVICE}")
        match = re.search(r"(\d+) succeeded", out)
        assert match
        # h2load may begin with 100 streams before it has read that it has one: the others are refused, rightly.
        assert int(match[1]) >= (5000 - 2 * 99 if profile == "strict" else 5000)
        assert fake.counts == {(200, ""): int(match[1])}
        assert len(fake.received) == (1000 if profile == "strict" else 0)


@pytest.mark.parametrize("option", ["--certs", "--faults", "--registry", "--control-token-file"])
@pytest.mark.parametrize("encoding", ["pem", "base32", "base64", "base85", "ascii85", "json", "hex"])
def test_a_key_in_the_place_of_a_path_is_not_repeated(
    option: str, encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytes(range(7, 251))
    texts = {
        "pem": f"-----BEGIN PRIVATE KEY-----\n{base64.encodebytes(data).decode()}-----END PRIVATE KEY-----\n",
        "base32": base64.b32encode(data[:120]).decode(),
        "base64": base64.b64encode(data).decode(),
        "base85": base64.b85encode(data).decode(),
        "ascii85": base64.a85encode(data).decode(),
        "json": json.dumps({"private_key": base64.b64encode(data).decode()}),
        "hex": data.hex(),
    }
    places = {"--certs": str(tmp_path / "certs"), option: texts[encoding]}
    with pytest.raises(SystemExit) as ended:
        main(["apns", *(f"{name}={value}" for name, value in places.items())])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"argument {option}: {len(texts[encoding])} characters that do not look like a path" in said
    assert texts[encoding][40:56] not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["--client-cert", "{}"],
        ["--client-cert=.{}:com.example.app"],
        ["--client-cert=app:{}"],
        ["--impersonate", "{}"],
        ["--impersonate=apns,{}"],
        ["--keep", "{}"],
        ["--profile={}"],
        ["--host=.{}"],
        ["--control-host=..{}"],
        ["{}"],
        ["--certificate={}"],
    ],
)
def test_a_secret_in_the_place_of_any_value_is_not_repeated(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = base64.b64encode(bytes(range(7, 147))).decode()
    for secret in (data, data[:40], data[:22], f"-----BEGIN PRIVATE KEY-----\n{data[:64]}\n{data[64:88]}\n"):
        with pytest.raises(SystemExit) as ended:
            main(["apns", "--certs", str(tmp_path / "certs"), *(word.format(secret) for word in words)])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "error: " in said
        assert not [at for at in range(28) if data[at : at + 12] in said or data[at + 64 : at + 76] in said]


def test_a_secret_as_a_host_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = base64.urlsafe_b64encode(bytes(range(7, 39))).decode().rstrip("=")
    message = failure(capsys, "--certs", str(tmp_path), "--host", secret)
    assert message.startswith("fakeservers: cannot listen on (43 characters) port 0: ")


@pytest.mark.parametrize(
    "address", ["redis://me:pw@cache.example", "rediss://:pw@10.0.0.1", "me:pw@h", "pcg_pw", "ya29.pw"]
)
def test_an_address_in_the_place_of_a_path_is_not_repeated(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["apns", "--certs", str(tmp_path), "--registry", address])
    said = capsys.readouterr().err
    assert f"argument --registry: {len(address)} characters that do not look like a path" in said
    assert "pw" not in said


def test_a_secret_in_a_registry_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry.json").write_text(json.dumps({"x" * 30: 1}))
    message = failure(capsys, "--certs", str(tmp_path), "--registry", str(tmp_path / "registry.json"))
    assert "cannot be used: unknown key of 30 characters in " in message


def test_a_secret_in_a_plan_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = base64.b64encode(bytes(range(7, 147))).decode()
    wrong: list[dict[str, Any]] = [
        {secret: 1},
        {"seed": secret},
        {"faults": [{"what": {"kind": secret}}]},
        {"faults": [{"what": {"private_key": f"-----BEGIN PRIVATE KEY-----\n{secret}\n"}}]},
        {"faults": [{"id": secret, "what": {"kind": "answer", "status": "x"}}]},
    ]
    for plan in wrong:
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        message = failure(capsys, "--certs", str(tmp_path), "--faults", str(tmp_path / "plan.json"))
        assert "plan.json" in message
        assert not [at for at in range(len(secret) - 20) if secret[at : at + 20] in message]


def test_short_values_are_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["apns", "--certs", "certs", "--impersonate", "apple", "--colour", "--prots=5"])
    assert "'apple' may not be impersonated" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["apns", "--certs", "certs", "--colour", "red", "--prots=5"])
    assert "unrecognized arguments: --colour … --prots\n" in capsys.readouterr().err


@pytest.mark.parametrize("redirection", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(redirection: str, tmp_path: Path) -> None:
    """libuv aborts when it closes a socket with the number of one."""
    command = [sys.executable, "-m", "fakeservers", "apns", "--certs", str(tmp_path / "certs")]
    script = f'exec "$@" {redirection}'
    process = subprocess.Popen(["sh", "-c", script, "sh", *command], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "certs" / "apns.json").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.terminate()
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode in (0, -signal.SIGTERM)
    finally:
        process.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("extra", [[], ["--processes", "2"]], ids=len)
def test_a_full_standard_output_is_named(extra: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fakeservers", "apns", "--certs", str(tmp_path / "certs"), *extra]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr == "fakeservers: the standard output cannot be written: No space left on device\n"
