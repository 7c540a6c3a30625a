"""`pushcore demo`: sends to fake servers and compares every result with the expected one."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from ...audience.audience import Audience
from ...audience.problems import BadInput, explain
from ...payloads.devices import NAMES
from ..process.interrupts import end_by_exception
from ..process.open_files import check_open_files
from ..report.results_file import ResultsFile
from ..run.campaign import CampaignRun
from ..run.client_options import NO_PROXY, ClientOptions
from ..run.demo_audience import compare, kinds, write_demo_audience
from ..run.exit_report import conclude
from ..run.fake_servers import FakeProcess, needed_extra
from ..run.sending import SendingOptions
from ..sections import option
from ..statuses import INCOMPLETE, OK, exit_statuses

HELP = """Push to fake devices of both kinds and check every response.

Starts a fake APNs and a fake FCM, which enforce Apple's and Google's rules, and writes an audience of iOS and Android
devices. Known shares of it are unregistered, malformed, or of another environment, app or sender. Sends to it as
`pushcore send` does, and compares each result with the expected one. Needs no account and no network.

\b
  pushcore demo --devices 20000 --keep demo/

""" + exit_statuses("demo")


@click.command(help=HELP, short_help="Push to fake devices and check every response.")
@option(
    "--devices",
    type=click.IntRange(min=100),
    default=100_000,
    show_default=True,
    metavar="N",
    help="Size of the audience.",
)
@option("--keep", metavar="DIR", help="Keep audience, payload, results and keys here.")
def demo(devices: int, keep: str | None) -> int:
    """Runs the command; the exit status."""
    check_open_files()
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
                raise BadInput(f"{keep} cannot be created as a directory ({explain(error)})") from None
        end_by_exception()
        return _run(devices, place, keep is not None)


def _run(devices: int, place: Path, keep: bool) -> int:
    click.echo(f"writing {devices:,} fake devices, starting a fake APNs and a fake FCM", err=True)
    started = time.monotonic()
    expected = write_demo_audience(devices, place)
    with FakeProcess(place, "all") as fake:
        click.echo(
            f"fake APNs at {fake.apns['url']}, fake FCM at {fake.fcm['url']}, "
            f"{devices:,} devices written in {time.monotonic() - started:.1f} s",
            err=True,
        )

        def abort() -> None:
            fake.kill()
            if not keep:
                shutil.rmtree(place, ignore_errors=True)

        status, seconds = _send(place, fake, abort)
    if status != OK:
        return status
    right = compare(place / "results.csv", expected)
    _show(Counter(kind.name for kind in expected), right)
    wrong = devices - right.total()
    if wrong:
        click.echo(
            f"pushcore: {wrong:,} rows have an unexpected result; --keep DIR keeps the results", err=True
        )
        return INCOMPLETE
    rate = devices / seconds if seconds else 0.0
    parts = Counter(kind.platform for kind in expected)
    whose = ", ".join(f"{parts[platform]:,} {name}" for platform, name in (*NAMES.items(), ("", "neither")))
    click.echo(f"all {devices:,} rows have the expected result ({whose}), {rate:,.0f} a second")
    return OK


def _send(place: Path, fake: FakeProcess, abort: Callable[[], None]) -> tuple[int, float]:
    sender = ClientOptions(
        apns_key=fake.apns["key_file"],
        key_id=fake.apns["key_id"],
        team_id=fake.apns["team_id"],
        topic=fake.apns["topic"],
        apns_url=fake.apns["url"],
        fcm_service_account=fake.fcm["service_account_file"],
        fcm_url=fake.fcm["url"],
        ca_file=fake.apns["ca_file"],
        payload=str(place / "payload.json"),
        proxy=NO_PROXY,
    )
    clients = sender.clients()
    template = sender.template(clients)
    with Audience(str(place / "audience.csv")) as audience:
        results = ResultsFile.to_file(str(place / "results.csv"))
        rows = template.rows(audience, results.bad_row)
        campaign = CampaignRun(clients, audience, rows, results, SendingOptions(rate="none"), on_abort=abort)
        report = campaign.send()
    status = conclude(report, results.counts, clients, name=results.name, summary=False)
    return status, report.seconds


def _show(counts: Counter[str], right: Counter[str]) -> None:
    click.echo(f"{'device':<28}{'verdict':<15}{'rows':>10}{'as expected':>12}")
    for kind in kinds():
        wanted, actual = counts[kind.name], right[kind.name]
        mark = "" if wanted == actual else "  <--"
        click.echo(f"{kind.name:<28}{kind.verdict:<15}{wanted:>10,}{actual:>12,}{mark}")
