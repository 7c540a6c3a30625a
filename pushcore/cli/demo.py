"""`pushcore demo`: sends to a fake APNs and checks every answer against what was planted."""

from __future__ import annotations

import csv
import random
import secrets
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import orjson

from .audience import Audience
from .campaign import Campaign
from .fake import FakeProcess, needed_extra
from .options import Apns
from .problems import INCOMPLETE, OK, BadInput, explain
from .report import Report
from .rows import Rows
from .template import Template

REGISTERED: Final = "registered"
# Kind of device -> its share of the audience, and what must become of a push to it.
SHARES: Final = {"unregistered": 0.010, "wrong environment": 0.003, "other topic": 0.007, "malformed": 0.005}
OUTCOMES: Final = {
    REGISTERED: ("ACCEPTED", "200", ""),
    "unregistered": ("UNREGISTERED", "410", "Unregistered"),
    "wrong environment": ("INVALID", "400", "BadDeviceToken"),
    "other topic": ("INVALID", "400", "DeviceTokenNotForTopic"),
    "malformed": ("INVALID", "", "the device token is not hexadecimal"),
}
OTHER_TOPIC: Final = "com.example.other"
DIED: Final = "2025-11-05T08:30:00.250Z"
DIED_MS: Final = 1_762_331_400_250
NAMES: Final = ("Ada", "Bob", "Chloë", "Дима", "李雷", 'Eve "E"')
PAYLOAD: Final = {
    "aps": {
        "alert": {"title": "Hello {{name}}", "body": "You have {{badge}} new messages"},
        "badge": "{{badge:int}}",
    }
}

HELP = """Push to fake devices and check every answer.

Starts a fake APNs that enforces Apple's rules in a process of its own, writes an audience in which a known share of
the devices is unregistered, malformed, of the other environment or of another app, sends to it as `pushcore send`
does, and compares the results with what was planted, row by row. Needs no account and no network.

\b
  pushcore demo --devices 20000 --keep demo/

Exit status: 0 when every row came back as planted, 1 otherwise, 2 when the fake server is not installed.
"""


@click.command(help=HELP, short_help="Push to fake devices and check every answer.")
@click.option("--devices", type=click.IntRange(min=10), default=100_000, show_default=True, metavar="N")
@click.option("--keep", metavar="DIR", help="Keep audience, payload, results and keys here.")
def demo(devices: int, keep: str | None) -> int:
    """Runs the command; the exit status."""
    missing = needed_extra()
    if missing is not None:
        raise BadInput(missing)
    with ExitStack() as cleanup:
        if keep is None:
            place = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="pushcore-demo-")))
        else:
            place = Path(keep)
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BadInput(f"{keep} cannot be made a directory ({explain(error)})") from None
        # From here on SIGTERM ends us as Ctrl-C does, so that the server is not left behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return _run(devices, place, keep is not None)


def _run(devices: int, place: Path, keep: bool) -> int:
    started = time.monotonic()
    planted = plant(devices, place)
    with FakeProcess(place) as fake:
        click.echo(
            f"fake APNs at {fake.config['url']}, {devices:,} devices written in {time.monotonic() - started:.1f} s",
            err=True,
        )

        def abort() -> None:
            fake.kill()
            if not keep:
                shutil.rmtree(place, ignore_errors=True)

        status, seconds = _send(place, fake, abort)
    if status != OK:
        return status
    rows, wrong = compare(place / "results.csv", planted, devices)
    _show(planted, devices, rows)
    rate = devices / seconds if seconds else 0.0
    if wrong:
        click.echo(f"pushcore: {wrong:,} rows did not come back as planted", err=True)
        return INCOMPLETE
    click.echo(f"all {devices:,} rows came back as planted, {rate:,.0f} a second")
    return OK


def plant(devices: int, place: Path) -> dict[int, str]:
    """Write audience.csv, payload.json and world.json; what is planted, by row, but for the registered."""
    planted: dict[int, str] = {}
    counts = {kind: max(1, round(devices * share)) for kind, share in SHARES.items()}
    chosen = iter(random.sample(range(1, devices + 1), sum(counts.values())))
    for kind, count in counts.items():
        planted.update((next(chosen), kind) for _ in range(count))
    world: dict[str, dict[str, Any]] = {}
    run = secrets.token_hex(20)
    with (place / "audience.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("token", "name", "badge"))
        for row in range(1, devices + 1):
            token = f"{run}{row:024x}"
            kind = planted.get(row, REGISTERED)
            if kind == "malformed":
                token = f"{token[:-1]}/"
            elif kind == "unregistered":
                world[token] = {"fate": "Unregistered", "since": DIED_MS}
            elif kind == "wrong environment":
                world[token] = {"fate": "BadDeviceToken"}
            elif kind == "other topic":
                world[token] = {"topic": OTHER_TOPIC}
            writer.writerow((token, NAMES[row % len(NAMES)], row % 100))
    (place / "world.json").write_bytes(orjson.dumps({"devices": world}))
    (place / "payload.json").write_bytes(orjson.dumps(PAYLOAD, option=orjson.OPT_INDENT_2))
    return planted


def _send(place: Path, fake: FakeProcess, abort: Callable[[], None]) -> tuple[int, float]:
    config = fake.config
    apns = Apns(
        apns_key=config["key_file"],
        key_id=config["key_id"],
        team_id=config["team_id"],
        topic=config["topic"],
        apns_url=config["url"],
        ca_file=config["ca_file"],
    )
    client = apns.client()
    template = Template.from_file(str(place / "payload.json"))
    with Audience(str(place / "audience.csv")) as audience:
        report = Report.to_file(str(place / "results.csv"))
        rows = Rows(audience, template, apns.defaults, report.bad_row)
        campaign = Campaign(client, audience, rows, report, on_abort=abort)
        return campaign.run(), campaign.seconds


def compare(results: Path, planted: dict[int, str], devices: int) -> tuple[Counter[str], int]:
    """How many rows of each kind came back as planted, and how many of all did not, or came twice, or never."""
    right: Counter[str] = Counter()
    seen = bytearray(devices + 1)
    with results.open(encoding="utf-8", newline="") as file:
        for found in csv.DictReader(file):
            row = int(found["row"])
            kind = planted.get(row, REGISTERED)
            outcome = found["verdict"], found["status"], found["reason"]
            died = DIED if kind == "unregistered" else ""
            if not seen[row] and outcome == OUTCOMES[kind] and found["timestamp"] == died:
                right[kind] += 1
            else:
                right[kind] -= seen[row]
            seen[row] = 1
    return right, devices - right.total()


def _show(planted: dict[int, str], devices: int, right: Counter[str]) -> None:
    expected = Counter(planted.values())
    expected[REGISTERED] = devices - len(planted)
    click.echo(f"{'device':<20}{'verdict':<15}{'planted':>10}{'came back':>12}")
    for kind, (verdict, _, _) in OUTCOMES.items():
        mark = "" if expected[kind] == right[kind] else "  <--"
        click.echo(f"{kind:<20}{verdict:<15}{expected[kind]:>10,}{right[kind]:>12,}{mark}")
