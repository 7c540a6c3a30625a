"""docs/examples/postgresql.py and docs/guides/postgresql.md on a PostgreSQL of our own, from Debian's package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns, InThread, fated_token

ROOT = Path(__file__).parents[2]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
RECIPE = (ROOT / "docs" / "guides" / "postgresql.md").read_text()
DEVICES = 2000

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(not BINARIES, reason="PostgreSQL is not installed (Debian package postgresql)"),
]


@pytest.fixture(scope="module")
def database() -> Iterator[dict[str, str]]:
    """The variables of libpq for a new server, which listens on a socket of its own alone."""
    place = Path(tempfile.mkdtemp(prefix="pushcore-postgres-"))
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # which PostgreSQL refuses
        shutil.chown(place, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    programs = BINARIES[-1].parent
    run: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": place, **user}
    try:
        subprocess.run(
            [str(programs / "initdb"), "-D", str(place / "data"), "-U", "postgres", "-A", "trust", "-N"],
            **run,
        )
        options = f"-c listen_addresses= -c unix_socket_directories={place} -c fsync=off"
        control = [str(programs / "pg_ctl"), "-D", str(place / "data"), "-w", "-l", str(place / "log")]
        subprocess.run([*control, "-o", options, "start"], **run)
        try:
            yield {**os.environ, "PGHOST": str(place), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(place)


def psql(database: dict[str, str], sql: str, **options: Any) -> str:
    """What psql says to these commands."""
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"],
        input=sql, env=database, capture_output=True, text=True, check=True, **options,
    )  # fmt: skip
    return str(done.stdout).strip()


@pytest.fixture
def table(database: dict[str, str]) -> str:
    """A new table of devices: every hundredth is dead, and two of the dead ones were registered again since."""
    source = (ROOT / "docs" / "examples" / "postgresql.py").read_text()
    statements = re.findall(r"CREATE TABLE .*;", source)
    psql(database, "DROP TABLE IF EXISTS devices, push_results;" + "".join(statements))
    dead = fated_token("Unregistered")
    rows = [(n, dead[:-6] + f"{n:06x}" if not n % 100 else f"{n:064x}") for n in range(1, DEVICES + 1)]
    values = ",".join(f"({n}, '{token}', '2001-01-01Z')" for n, token in rows)
    psql(database, f"INSERT INTO devices (id, token, registered_at) VALUES {values};")
    psql(database, "ALTER TABLE devices ADD COLUMN name text NOT NULL DEFAULT 'Ada';")
    psql(database, "UPDATE devices SET registered_at = now() + '1 day' WHERE id IN (100, 200);")
    return psql(database, "SELECT count(*) FROM devices;")


def test_the_program(database: dict[str, str], table: str) -> None:
    assert table == str(DEVICES)
    with InThread(FakeApns) as running:
        fake = running.fake
        variables = {
            **database,
            "APNS_KEY": str(fake.key_file), "APNS_KEY_ID": fake.key_id, "APNS_TEAM_ID": fake.team_id,
            "APNS_TOPIC": fake.topic, "APNS_URL": fake.url, "APNS_CA_FILE": str(fake.ca_file),
        }  # fmt: skip
        for sent in (DEVICES, DEVICES):  # the second time all have a result
            program = [sys.executable, str(ROOT / "docs" / "examples" / "postgresql.py"), "autumn"]
            subprocess.run(program, env=variables, check=True, timeout=60)
            assert sum(fake.counts.values()) == sent
    found = psql(database, "SELECT verdict, count(*) FROM push_results GROUP BY verdict ORDER BY verdict;")
    assert found.splitlines() == ["ACCEPTED|1980", "UNREGISTERED|20"]
    assert psql(database, "SELECT count(*) FROM devices;") == str(DEVICES - 18)


def test_the_program_keeps_all_results_when_the_breaker_stops_it(
    database: dict[str, str], table: str
) -> None:
    psql(database, "DELETE FROM devices WHERE id > 333;")  # less than a batch
    with InThread(FakeApns) as running:
        fake = running.fake
        variables = {
            **database,
            "APNS_KEY": str(fake.key_file), "APNS_KEY_ID": fake.key_id, "APNS_TEAM_ID": fake.team_id,
            "APNS_TOPIC": "com.example.wrong", "APNS_URL": fake.url, "APNS_CA_FILE": str(fake.ca_file),
        }  # fmt: skip
        program = [sys.executable, str(ROOT / "docs" / "examples" / "postgresql.py"), "autumn"]
        done = subprocess.run(program, env=variables, capture_output=True, text=True, timeout=60)
        assert "BreakerOpen" in done.stderr
        rejected = fake.counts[400, "TopicDisallowed"]
    assert rejected >= 20
    found = psql(database, "SELECT count(*) FROM push_results WHERE reason = 'TopicDisallowed';")
    assert found == str(rejected)


@pytest.mark.parametrize("journal", [False, True])
def test_the_command_line(database: dict[str, str], table: str, tmp_path: Path, journal: bool) -> None:
    shells = re.findall(r"```\n(.*?)```", RECIPE, re.DOTALL)
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    with InThread(FakeApns) as running:
        fake = running.fake
        options = (
            f"--payload payload.json --apns-key {fake.key_file} --key-id {fake.key_id} --team-id {fake.team_id} "
            f"--topic {fake.topic} --apns-url {fake.url} --ca-file {fake.ca_file}"
        )
        script = shells[journal].replace("…", options).replace("pushcore", f"{sys.executable} -m pushcore")
        done = subprocess.run(
            ["bash", "-euc", script], env=database, cwd=tmp_path, timeout=60, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert sum(fake.counts.values()) == DEVICES
    (sql,) = re.findall(r"```sql\n(.*?)```", RECIPE, re.DOTALL)
    psql(database, sql, cwd=tmp_path)
    assert psql(database, "SELECT count(*) FROM devices;") == str(DEVICES - 18)
