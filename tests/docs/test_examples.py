"""The programs in docs/examples run: each is started as its first lines say, against fakes."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import fated_token
from fakeservers.pytest_plugin import ApnsFixture
from tests.support import queues

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
DEADLINE = 60.0
WHY = "the extra `examples` has all but arq, which wants a redis before 6"
PHONE, GONE, LATER = "ab" * 32, fated_token("Unregistered"), fated_token("ServiceUnavailable")

pytestmark = pytest.mark.ci


@pytest.fixture
def environment(fake_apns: ApnsFixture) -> dict[str, str]:
    """What the programs read: the fake's address and key."""
    return {
        **os.environ,
        "APNS_KEY": str(fake_apns.key_file),
        "APNS_KEY_ID": fake_apns.key_id,
        "APNS_TEAM_ID": fake_apns.team_id,
        "APNS_TOPIC": fake_apns.topic,
        "APNS_URL": fake_apns.url,
        "APNS_CA_FILE": str(fake_apns.ca_file),
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), str(EXAMPLES.parents[1])]),
    }


@pytest.fixture
def redis(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    """A Redis or Valkey of this test's own; its URL, which the programs read as well."""
    server = queues.start("redis", tmp_path / "redis")
    environment["REDIS_URL"] = environment["BROKER_URL"] = server.url
    yield server.url
    server.stop()


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}; {WHY}")


def run(environment: dict[str, str], *words: str | Path, place: Path = EXAMPLES) -> str:
    done = subprocess.run(
        [sys.executable, *words], env=environment, cwd=place, capture_output=True, text=True, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


FASTAPI = """
import asyncio, json, sys
import httpx
from fastapi_service import app

async def main(token, gone):
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as http:
            one = (await http.post("/push", json={"token": token, "title": "Hi"})).json()
            begun = await http.post("/campaigns", json={"tokens": [token] * 20 + [gone], "title": "Hi"})
            assert begun.status_code == 202
            while sum((counts := (await http.get("/campaigns/1")).json()).values()) < 21:
                await asyncio.sleep(0.01)
            missing = (await http.get("/campaigns/2")).status_code
            wrong = ["deadfa7e400d" + f"{number:052x}" for number in range(100)]  # TopicDisallowed
            await http.post("/campaigns", json={"tokens": wrong, "title": "Hi"})
            while "UNSENT" not in (await http.get("/campaigns/2")).json() and len(app.state.tasks._tasks) > 0:
                await asyncio.sleep(0.01)
            after = (await http.post("/push", json={"token": token, "title": "Hi"})).json()
            assert after["verdict"] == "ACCEPTED", "a stopped campaign ends nothing else"
    print(json.dumps([one["verdict"], counts, missing]))

asyncio.run(main(*sys.argv[1:]))
"""


@needs("fastapi", "httpx")
def test_fastapi(environment: dict[str, str]) -> None:
    said = json.loads(run(environment, "-c", FASTAPI, PHONE, GONE))
    assert said == ["ACCEPTED", {"ACCEPTED": 20, "UNREGISTERED": 1}, 404]


DJANGO = """
import os, sys
sys.path.append("..")
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from django.test import Client
client = Client()
print(*(client.post("/push", {"token": token, "title": "Hi"}).status_code for token in sys.argv[1:]))
print(client.get("/push").status_code)
"""


@needs("django")
def test_django(environment: dict[str, str]) -> None:
    place = EXAMPLES / "django_site"
    assert run(environment, "-c", DJANGO, PHONE, GONE, place=place).split() == ["200", "502", "405"]
    said = run(environment, "manage.py", "push", "--title", "Hi", PHONE, GONE, place=place)
    assert said == "ACCEPTED: 1, UNREGISTERED: 1\n"


@needs("celery")
def test_celery_with_processes(environment: dict[str, str], redis: str, fake_apns: ApnsFixture) -> None:
    sender = (
        "import sys; from celery_tasks import send_push\n"
        "results = [send_push.delay(token, 'Hi') for token in sys.argv[1:]]\n"
        "print(*sorted(result.get(timeout=50)['verdict'] for result in results))"
    )
    words = ("-m", "celery", "-A", "celery_tasks", "worker", "--concurrency", "2", "--loglevel", "ERROR")
    with subprocess.Popen([sys.executable, *words], env=environment, cwd=EXAMPLES) as worker:
        try:
            said = run(environment, "-c", sender, *[PHONE] * 8, GONE).split()
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(DEADLINE)
    assert said == ["ACCEPTED"] * 8 + ["UNREGISTERED"]
    assert 1 <= fake_apns.accepted <= 2  # one for each process of the pool, not for each push


RETRIED = """
import sys, time
from celery_tasks import app, send_push

app.conf.task_always_eager = True  # runs it here
send_push.retry = lambda countdown: RuntimeError(f"retry after {countdown}")  # does not wait
try:
    send_push(sys.argv[1], "Hi")
except RuntimeError as error:
    print(error)
"""


@needs("celery")
def test_celery_retries_a_temporary_rejection(environment: dict[str, str]) -> None:
    said = run({**environment, "BROKER_URL": "redis://127.0.0.1:1"}, "-c", RETRIED, LATER)
    assert said == "retry after 60.0\n"


@needs("rq")
def test_rq(environment: dict[str, str], redis: str, fake_apns: ApnsFixture) -> None:
    for token in (PHONE, PHONE, GONE):
        run(environment, "rq_jobs.py", token, "Hi")
    run({**environment, "BURST": "1"}, "rq_jobs.py")
    assert fake_apns.counts == {(200, ""): 2, (410, "Unregistered"): 1}
    assert fake_apns.accepted == 1


SCHEDULED = "from rq_jobs import queue\nfor job in map(queue.fetch_job, queue.scheduled_job_registry.get_job_ids()): print(*job.args)"


@needs("rq")
def test_rq_schedules_a_temporary_rejection(environment: dict[str, str], redis: str) -> None:
    run(environment, "rq_jobs.py", LATER, "Hi")
    run({**environment, "BURST": "1"}, "rq_jobs.py")
    assert run(environment, "-c", SCHEDULED).split() == [LATER, "Hi", "4"]


@needs("arq")
def test_arq(environment: dict[str, str], redis: str, fake_apns: ApnsFixture) -> None:
    put = (
        "import asyncio, os, sys\nfrom arq import create_pool\nfrom arq_worker import WorkerSettings\n"
        "async def main():\n  pool = await create_pool(WorkerSettings.redis_settings)\n"
        "  for token in sys.argv[1:]: await pool.enqueue_job('send_push', token, 'Hi')\nasyncio.run(main())"
    )
    run(environment, "-c", put, PHONE, GONE)
    run(environment, "-m", "arq", "arq_worker.WorkerSettings", "--burst")
    assert fake_apns.counts == {(200, ""): 1, (410, "Unregistered"): 1}
    assert fake_apns.accepted == 1


@needs("redis")
def test_a_redis_list(environment: dict[str, str], redis: str, fake_apns: ApnsFixture) -> None:
    from redis import Redis

    with Redis.from_url(redis, decode_responses=True) as connection:
        bad = ["not JSON", "7", "{}"]
        connection.lpush("pushes", *bad)
        for token in (PHONE, GONE):
            connection.lpush("pushes", json.dumps({"token": token, "payload": {"aps": {"alert": "Hi"}}}))
        with subprocess.Popen([sys.executable, "redis_list.py"], env=environment, cwd=EXAMPLES) as consumer:
            try:
                until(lambda: connection.llen("pushes:results") == 2)
            finally:
                consumer.send_signal(signal.SIGTERM)
        assert consumer.returncode == 0
        results: Any = connection.lrange("pushes:results", 0, -1)
        assert sorted(json.loads(result)["verdict"] for result in results) == ["ACCEPTED", "UNREGISTERED"]
        assert connection.llen("pushes:sending") == 0
        assert connection.lrange("pushes:bad", 0, -1) == bad[::-1]


@pytest.mark.fake_apns(delay=0.02)
def test_a_sender_that_survives_kill_9(
    environment: dict[str, str], tmp_path: Path, fake_apns: ApnsFixture
) -> None:
    tokens = [f"{number:064x}" for number in range(20_000)]
    (tmp_path / "tokens.txt").write_text("\n".join(tokens) + "\n")
    words = [sys.executable, "durable_sender.py", str(tmp_path / "tokens.txt"), str(tmp_path / "campaign.db")]
    with subprocess.Popen(words, env=environment, cwd=EXAMPLES) as sender:
        until(lambda: sum(fake_apns.counts.values()) > 500 or sender.poll() is not None)
        sender.kill()
    assert sender.returncode == -signal.SIGKILL
    counts = ast.literal_eval(run(environment, *words[1:]))
    assert sum(counts.values()) == len(tokens)
    assert counts.keys() <= {"ACCEPTED", "UNKNOWN"}
    sent = [record.token for record in fake_apns.received]
    assert len(sent) == len(set(sent))
    assert len(Path(EXAMPLES / "durable_sender.py").read_text().splitlines()) <= 60


def test_a_test_suite_of_ones_own_app() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            EXAMPLES,
            "test_own_app.py",
        ],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parents[1])},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert re.search(r"^2 passed", done.stdout, re.MULTILINE), done.stdout


THREADS = """
import os, threading
from loop_thread import close_pusher, pusher

barrier, first = threading.Barrier(8), set()
def call():
    barrier.wait()
    first.add(pusher())
threads = [threading.Thread(target=call) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
child = os.fork()
if not child:
    assert pusher() not in first
    close_pusher()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert first == {pusher()}
close_pusher()
"""


def test_a_process_has_one_client_and_its_fork_another(environment: dict[str, str]) -> None:
    run(environment, "-W", "ignore", "-c", THREADS)


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    programs = {path.name for path in EXAMPLES.iterdir() if path.name[0] not in "._"} - {
        "loop_thread.py",
        "postgresql.py",  # tests/docs/test_postgresql.py
    }
    assert [name for name in sorted(programs) if name.removesuffix(".py") not in text] == []


def until(holds: Any) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
