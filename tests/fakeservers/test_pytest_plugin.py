"""The pytest fixtures, as somebody else's tests use them: in a run of their own, on any event loop and on none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakeservers import FakeApns, FakeFcm, InThread

DEADLINE = 60

SENDER = '''
"""A sender that needs no event loop: one push by curl's library would do; here it is a socket and hyper-h2."""
import base64, json, pathlib, socket, ssl, time
import h2.connection, h2.events
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

def provider_token(fake):
    key = serialization.load_pem_private_key(pathlib.Path(fake.key_file).read_bytes(), None)
    head = {"alg": "ES256", "kid": fake.key_id}
    text = ".".join(encoded(json.dumps(each).encode()) for each in (head, {"iss": fake.team_id, "iat": int(time.time())}))
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return text + "." + encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

def post(fake, path, headers, body):
    context = ssl.create_default_context(cafile=fake.ca_file)
    context.set_alpn_protocols(["h2"])
    host, port = fake.url.removeprefix("https://").split(":")
    with context.wrap_socket(socket.create_connection((host, int(port)), 5), server_hostname=host) as link:
        peer = h2.connection.H2Connection()
        peer.initiate_connection()
        peer.send_headers(1, [(":method", "POST"), (":scheme", "https"), (":authority", host), (":path", path), *headers])
        peer.send_data(1, body, end_stream=True)
        link.sendall(peer.data_to_send())
        while True:
            for event in peer.receive_data(link.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    return int(dict(event.headers)[b":status"])
            link.sendall(peer.data_to_send())

def push(fake, device="ab" * 32):
    headers = [("authorization", "bearer " + provider_token(fake)), ("apns-topic", fake.topic), ("apns-push-type", "alert")]
    return post(fake, "/3/device/" + device, headers, b'{"aps":{"alert":"Hi"}}')

def send(fake):
    headers = [("authorization", "Bearer " + fake.access_token()), ("content-type", "application/json")]
    body = json.dumps({"message": {"token": "x:APA91b", "data": {"a": "b"}}}).encode()
    return post(fake, "/v1/projects/%s/messages:send" % fake.project_id, headers, body)
'''


def run(place: Path, tests: str, *options: str, passed: int) -> str:
    """Run these tests in a pytest of their own, which knows nothing of ours; what it says."""
    (place / "sender.py").write_text(SENDER)
    (place / "test_it.py").write_text(tests)
    (place / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = --strict-markers\n")
    switched_off = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    command = [sys.executable, "-m", "pytest", "-q", *switched_off, *options, "test_it.py"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=DEADLINE)
    assert f"{passed} passed" in done.stdout, done.stdout + done.stderr
    return done.stdout


def test_without_an_event_loop(tmp_path: Path) -> None:
    tests = """
import pytest
from sender import push, send

def test_apns(fake_apns):
    assert fake_apns.received == []
    assert push(fake_apns) == 200
    (record,) = fake_apns.received
    assert record.token == "ab" * 32
    assert record.headers["apns-topic"] == fake_apns.topic
    assert fake_apns.channels_url != fake_apns.url
    assert fake_apns.counts == {(200, ""): 1}
    assert fake_apns.accepted == 1
    fake_apns.clear()
    assert (fake_apns.received, fake_apns.counts) == ([], {})

def test_the_next_test_has_a_fake_of_its_own(fake_apns):
    assert fake_apns.received == []

def test_fcm(fake_fcm):
    assert send(fake_fcm) == 200
    assert fake_fcm.received[0].path.endswith("/messages:send")

def test_both(fake_apns, fake_fcm):
    assert (push(fake_apns), send(fake_fcm)) == (200, 200)

def test_faults(fake_apns):
    fake_apns.faults.add({"id": "busy", "what": {"kind": "answer", "reason": "TooManyRequests"}})
    assert push(fake_apns) == 429
    assert fake_apns.faults.hits == {"busy": 1}
    fake_apns.faults.enable("busy", False)
    assert push(fake_apns) == 200
    assert [fault.id for fault in fake_apns.faults] == ["busy"]
    fake_apns.faults.remove("busy")
    assert len(fake_apns.faults) == 0
    fake_apns.faults.use("calm")
    fake_apns.faults.clear()

@pytest.mark.fake_apns(delay=0.05, keep=1)
def test_options(fake_apns):
    push(fake_apns)
    push(fake_apns)
    assert len(fake_apns.received) == 1

def test_what_else_it_can_do(fake_apns):
    fake_apns.call(lambda: fake_apns.fake.registry.add_device("cd" * 32, fate="Unregistered"))
    assert push(fake_apns, "cd" * 32) == 410
    with pytest.raises(ZeroDivisionError):
        fake_apns.call(lambda: 1 / 0)
"""
    run(tmp_path, tests, passed=7)


def test_in_unittest_style(tmp_path: Path) -> None:
    tests = """
import unittest
import pytest
from sender import push

class PushTest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _fake(self, fake_apns):
        self.fake = fake_apns

    def test_a_push(self):
        self.assertEqual(push(self.fake), 200)
        self.assertEqual(len(self.fake.received), 1)
"""
    run(tmp_path, tests, passed=1)


def test_on_asyncio_and_on_trio(tmp_path: Path) -> None:
    tests = """
import asyncio
import trio
from sender import push

def test_asyncio(fake_apns):
    async def main():
        assert await asyncio.to_thread(push, fake_apns) == 200
        assert len(fake_apns.received) == 1  # from within a running loop, too
    asyncio.run(main())

def test_trio(fake_apns):
    async def main():
        assert await trio.to_thread.run_sync(push, fake_apns) == 200
        assert len(fake_apns.received) == 1
    trio.run(main)
"""
    run(tmp_path, tests, passed=2)


def test_one_fake_for_many_workers_is_seen_whole(tmp_path: Path) -> None:
    tests = """
import threading
from sender import push

def test_threads(fake_apns):
    seen = []
    def look():
        while not done.is_set():
            seen.append(len(fake_apns.received))
    done = threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    pushing = [threading.Thread(target=push, args=(fake_apns,)) for _ in range(20)]
    for each in pushing: each.start()
    for each in pushing: each.join()
    done.set()
    looking.join()
    assert seen == sorted(seen)
    assert len(fake_apns.received) == 20
"""
    run(tmp_path, tests, passed=1)


def test_an_environment_without_the_extra_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import sys\nsys.modules['ngh2'] = None\n")
    tests = "def test_something():\n    pass\n\ndef test_push(fake_apns):\n    pass\n"
    said = run(tmp_path, tests, passed=1)
    assert 'pip install "pushcore[fakeservers]"' in said
    assert "1 error" in said


def test_a_run_that_asks_for_no_fake_imports_none(tmp_path: Path) -> None:
    """Other plugins may bring along what they like: what counts is what ours adds to a run without it."""
    tests = """
import sys
def test_nothing():
    print("\\nmodules", *sys.modules)
"""

    def modules(*options: str) -> set[str]:
        said = run(tmp_path, tests, "-s", *options, passed=1)
        return set(next(line for line in said.splitlines() if line.startswith("modules ")).split())

    added = modules() - modules("-p", "no:fakeservers")
    assert {item for item in added if item.startswith("fakeservers.")} == {"fakeservers.pytest_plugin"}
    assert not {"ngh2", "cryptography", "orjson", "uvicorn"} & added


def test_it_says_what_there_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--fixtures", "--markers", "-q"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE).stdout
    assert "@pytest.mark.fake_fcm(**options)" in said


@pytest.mark.parametrize("make", [FakeApns, FakeFcm])
def test_a_fake_starts_in_less_than_300_ms(make: type[FakeApns] | type[FakeFcm]) -> None:
    """The best of five: what the fixture costs, not what else the machine is doing."""
    took = []
    for _ in range(5):
        begun = time.perf_counter()
        running: InThread[FakeApns | FakeFcm] = InThread(make)
        with running:
            took.append(time.perf_counter() - begun)
            assert running.fake.url.startswith("https://127.0.0.1:")
    assert min(took) < 0.3


def test_a_fake_that_cannot_start_says_why() -> None:
    with InThread(FakeApns) as first:
        port = int(first.fake.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            InThread(lambda: FakeApns(port=port)).__enter__()
    with pytest.raises(ValueError, match="unknown profile"):
        InThread(lambda: FakeApns("lax")).__enter__()


async def test_without_pytest_it_is_an_async_context() -> None:
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        assert json.dumps([apns.url, fcm.url])
        assert Path(apns.ca_file).exists()
        file = Path(apns.key_file)
    assert not file.exists()
