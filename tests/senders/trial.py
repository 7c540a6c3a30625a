"""One sender against a fake, in a network of its own: `python -m tests.senders.trial`, started by `tests.senders.run`.

Standard input is a job as JSON, standard output a report as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from fakeservers import FakeApns, FakeFcm
from fakeservers.apns.state import ApnsRecord
from fakeservers.certs import Certificates
from fakeservers.serving.types import ServerLimits
from tests.senders import fates, hosts
from tests.senders.catalogue import PROGRAMS, Sender, read
from tests.senders.page import NO_OUTCOME

Fake: TypeAlias = FakeApns | FakeFcm
QUIET: Final = 75.0
"""Seconds without an outcome after which a sender is ended: none of them retries or waits for longer and then succeeds."""
LOOK: Final = 1.0
"""Seconds between two looks whether it has begun."""
START: Final = 300.0
"""Seconds that a sender may take until it reaches the fake: a JVM's few seconds of CPU are minutes on a busy machine."""
KEPT: Final = 1_000_000
PASSWORD: Final = "secret"
TRUST: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Attempts:
    """What a fake saw of one token: requests, and those that it accepted."""

    requests: int
    accepted: int


@dataclass(frozen=True, slots=True)
class Ended:
    """One process of a sender: outcome by token, and how it ended."""

    outcomes: dict[str, str]
    ending: str


async def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    tokens: Sequence[str],
    has_begun: Callable[[], object] = lambda: True,
    *,
    quiet: float = QUIET,
    start: float = START,
) -> Ended:
    """Start a sender, give it tokens, and read its outcomes until it ends or is silent for too long.

    Args:
        command: starts it.
        environment: more variables for it.
        tokens: what to push to.
        has_begun: whether it has reached the fake.
        quiet: seconds without an outcome, once it has begun, after which it is ended.
        start: the same before it has begun.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    outcomes: dict[str, str] = {}
    ending = ""
    try:
        process.stdin.write("".join(f"{token}\n" for token in tokens).encode())
        process.stdin.close()
        while line := await _line(process.stdout, has_begun, quiet, start):
            if line.startswith(b"{"):
                row = json.loads(line)
                assert row["token"] not in outcomes, f"a second outcome of {row['token']}"
                outcomes[row["token"]] = row["outcome"]
    except TimeoutError:
        ending = f"{NO_OUTCOME} {quiet:.0f} s" if has_begun() else f"not begun in {start:.0f} s"
        process.kill()
    text = (await errors).decode(errors="replace").strip()
    code = await process.wait()
    last = text.splitlines()[-1] if text else ""
    return Ended(outcomes, ending or (f"exit code {code}: {last}" if code else ""))


async def _line(
    output: asyncio.StreamReader, has_begun: Callable[[], object], quiet: float, start: float
) -> bytes:
    """The next line of a sender; raises `TimeoutError` when it does not come in time."""
    clock = asyncio.get_running_loop().time
    since, begun = clock(), bool(has_begun())
    while True:
        try:
            return await asyncio.wait_for(output.readline(), min(quiet, LOOK))
        except TimeoutError:
            if not begun and has_begun():
                since, begun = clock(), True
            elif clock() - since >= (quiet if begun else start):
                raise


def received(fake: Fake) -> dict[str, Attempts]:
    """What the fake has seen, by token."""
    requests: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    for record in fake.received:
        if isinstance(record, ApnsRecord):
            token = record.token
        elif record.path.endswith("/messages:send"):
            token = json.loads(record.body)["message"]["token"]
        else:
            continue
        requests[token] += 1
        accepted[token] += record.status == 200
    return {token: Attempts(count, accepted[token]) for token, count in requests.items()}


class Trial:
    """A sender, the command that runs it, and where files may be."""

    def __init__(self, sender: Sender, command: Sequence[str], directory: Path) -> None:
        self.sender = sender
        self.command = command
        self.directory = directory
        self.certificates = Certificates.create(directory, hosts=tuple(hosts.NAMES))

    def fake(self) -> Fake:
        """A strict fake, where the sender looks for it."""
        port = 443 if self.sender.reached == "hosts" else 0
        # A JVM that has just started shakes hands slowly on a busy machine.
        limits = ServerLimits(handshake_timeout=QUIET)
        if self.sender.provider == "apns":
            return FakeApns(
                host=hosts.APNS_ADDRESS, port=port, certs=self.certificates, keep=KEPT, limits=limits
            )
        return FakeFcm(host=hosts.FCM_ADDRESS, port=port, certs=self.certificates, keep=KEPT, limits=limits)

    def environment(self, fake: Fake, streams: int) -> dict[str, str]:
        """The variables that a program is given; `programs/sending.py` lists them."""
        given = {"ca_file": str(self.certificates.ca_file), "streams": str(streams)}
        if isinstance(fake, FakeApns):
            certificate = self.directory / "certificate.p12"
            certificate.write_bytes(
                self.certificates.client_certificate(fake.topic).pkcs12(PASSWORD.encode())
            )
            given |= {"topic": fake.topic, "key_file": fake.key_file, "key_id": fake.key_id}
            given |= {"team_id": fake.team_id, "certificate_file": str(certificate)}
            given["certificate_password"] = PASSWORD
        else:
            file = self.directory / "account.json"
            fake.account.write(file, "https://oauth2.googleapis.com/token")
            given |= {"service_account_file": str(file), "project_id": fake.account.project_id}
        if self.sender.reached == "options":
            port = fake.url.rpartition(":")[2]
            given |= {"url": f"https://localhost:{port}", "host": "localhost", "port": port}
        environment = {f"SENDER_{name.upper()}": value for name, value in given.items()}
        environment |= dict.fromkeys(TRUST, given["ca_file"])
        if self.sender.language == "Java":
            environment["JAVA_TOOL_OPTIONS"] = (
                f"-Djavax.net.ssl.trustStore={self._trust_store()} -Djavax.net.ssl.trustStorePassword={PASSWORD}"
            )
        return environment

    def _trust_store(self) -> Path:
        store = self.directory / "trust.p12"
        if not store.exists():
            words = ["keytool", "-importcert", "-noprompt", "-alias", "fake", "-storetype", "PKCS12"]
            words += [
                "-file",
                str(self.certificates.ca_file),
                "-keystore",
                str(store),
                "-storepass",
                PASSWORD,
            ]
            subprocess.run(words, check=True, capture_output=True)
        return store

    async def calm(self, count: int) -> dict[str, Any]:
        """A calm day: `count` pushes to ordinary tokens, as many at a time as the program says."""
        tokens = [fates.token(self.sender.provider, "", number) for number in range(count)]
        async with self.fake() as fake:
            ended = await run(
                self.command, self.environment(fake, self.sender.streams), tokens, lambda: fake.accepted
            )
            seen = received(fake)
            other = Counter(outcome for outcome in ended.outcomes.values() if outcome != "ok")
            return {
                "count": count,
                "ok": sum(outcome == "ok" for outcome in ended.outcomes.values()),
                "accepted": sum(row.accepted for row in seen.values()),
                "devices": sum(row.accepted > 0 for row in seen.values()),
                "other": dict(other.most_common(5)),
                "ending": ended.ending,
            }

    async def responses(self) -> list[dict[str, Any]]:
        """What the sender makes of each response. FCM's all at a time, for senders wait before they try again."""
        provider = self.sender.provider
        streams = 1 if provider == "apns" else self.sender.streams
        return await self._play([(fate, 0) for fate in fates.RESPONSES[provider]], streams)

    async def connection(self) -> list[dict[str, Any]]:
        """What it makes of each fate of the connection, and of an ordinary push after that (`next`); a new start for each."""
        table: list[dict[str, Any]] = []
        for fate in fates.CONNECTION[self.sender.provider]:
            row, following = await self._play([(fate, 0), ("", 0)], 1)
            table.append(row | {"next": following["outcome"]})
        return table

    async def _play(self, pushes: Sequence[tuple[str, int]], streams: int) -> list[dict[str, Any]]:
        """A push to each fate. A sender that ends at one of them is started anew for those behind it."""
        rows: list[dict[str, Any]] = []
        async with self.fake() as fake:
            while pushes:
                tokens = [fates.token(self.sender.provider, *push) for push in pushes]
                ended = await run(
                    self.command, self.environment(fake, streams), tokens, lambda: fake.accepted
                )
                seen = received(fake)
                for (fate, _), token in zip(pushes, tokens, strict=True):
                    outcome = ended.outcomes.get(token)
                    attempts = seen.get(token, Attempts(0, 0))
                    ending = ended.ending.partition(":")[0] or "no outcome"
                    row: dict[str, Any] = {"fate": fate, "outcome": outcome or ending}
                    rows.append(row | {"requests": attempts.requests, "accepted": attempts.accepted})
                    pushes = pushes[1:]
                    if outcome is None:
                        break
        return rows


async def main() -> None:
    """Carry the job out."""
    job = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="pushcore-sender-") as name:
        directory = Path(name)
        hosts.enter(directory)
        trial = Trial(read(PROGRAMS / job["program"]), job["command"], directory)
        report: dict[str, Any] = {"calm": [await trial.calm(job["count"]) for _ in range(job["times"])]}
        works = any(day["ok"] for day in report["calm"])
        report["responses"] = await trial.responses() if works else []
        report["connection"] = await trial.connection() if works and job["connection"] else []
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
