"""README's example and commands do what it says they do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pushcore
from fakeservers import FakeApns, fated_token
from fakeservers.fcm.server import FakeFcm
from tests.docs import test_sending as sending
from tests.docs.commands import run_line

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_two_screens_are_enough() -> None:
    assert len(README.splitlines()) <= 100
    assert len(blocks("python")[0].splitlines()) <= 16


async def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = blocks("python")
    async with FakeApns() as fake:
        client, key = pushcore.ApnsClient, pushcore.ApnsKey

        def local_client(auth: Any, **options: Any) -> pushcore.ApnsClient:
            return client(auth, topic=fake.topic, url=fake.url, ca_file=fake.ca_file)

        class LocalKey:
            @staticmethod
            def from_file(path: str, **options: Any) -> pushcore.ApnsKey:
                return key.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)

        monkeypatch.setattr(pushcore, "ApnsClient", local_client)
        monkeypatch.setattr(pushcore, "ApnsKey", LocalKey)
        names: dict[str, Any] = {}
        program, _, last = example.rstrip().rpartition("\n")
        assert last.startswith("asyncio.run(main(")
        exec(program, names)
        await names["main"]("ab" * 32)
        await names["main"](fated_token("Unregistered"))
        assert fake.counts == {(200, ""): 1, (410, "Unregistered"): 1}
    said = capsys.readouterr().out
    assert "ACCEPTED" in said
    assert said.count("delete this token") == 1


async def test_the_command_runs(tmp_path: Path) -> None:
    (command,) = [block for block in blocks("sh") if block.startswith("pushcore send")]
    sending.write_files(tmp_path)
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        await run_line(command.strip(), tmp_path, sending.files_of(tmp_path, apns, fcm))
        assert len(apns.received) == 1


@pytest.mark.needs("curl")
def test_the_gateway_takes_the_curl(tmp_path: Path) -> None:
    (block,) = [block for block in blocks("sh") if "curl" in block]
    start, _, curl = block.partition(" &\n")
    assert start == "pushcore gateway --demo --port 8030"
    assert (
        "--retry-connrefused" in curl
    )  # the block is pasted as a whole, and the gateway needs seconds to start
    words = [sys.executable, "-m", *start.replace("8030", "0").split()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as gateway:
        try:
            assert gateway.stdout is not None
            port = next(
                filter(None, (re.search(r"listens on 127\.0\.0\.1:(\d+)", line) for line in gateway.stdout))
            )[1]
            sent = subprocess.run(
                ["sh", "-c", curl.replace("8030", port)],
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        finally:
            os.kill(gateway.pid, signal.SIGTERM)
            gateway.communicate()
    assert json.loads(sent.stdout)["verdict"] == "ACCEPTED"


def test_make_has_the_targets_shown() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test", "docs"} <= named <= targets


def test_the_public_names_are_these() -> None:
    assert sorted(pushcore.__all__) == [
        "APNS_REASONS",
        "Access",
        "AccessTokenError",
        "Alert",
        "AlpnError",
        "AndroidConfig",
        "AndroidConfigV2",
        "AndroidNotification",
        "AndroidNotificationV2",
        "AndroidPriority",
        "ApnsCertificate",
        "ApnsClient",
        "ApnsConfig",
        "ApnsFcmOptions",
        "ApnsKey",
        "ApnsPriority",
        "ApnsPushType",
        "Aps",
        "BreakerOpen",
        "Broadcast",
        "Broker",
        "CampaignConflict",
        "CampaignInfo",
        "CampaignState",
        "CampaignStatus",
        "CertificateError",
        "Channel",
        "Channels",
        "Chunk",
        "ChunkError",
        "ClosedError",
        "Color",
        "ConfigurationError",
        "ConnectError",
        "ConnectionLost",
        "Coordinator",
        "DeliveredResult",
        "DeviceToken",
        "Environment",
        "EventLoopError",
        "ExpoMessage",
        "ExpoPriority",
        "FCM_REASONS",
        "FcmClient",
        "FcmNotification",
        "FcmOptions",
        "Fleet",
        "GoAway",
        "HeaderListTooLarge",
        "Histogram",
        "Http2",
        "InstanceInfo",
        "InterruptionLevel",
        "Journal",
        "JournalError",
        "JournalView",
        "Lease",
        "Ledger",
        "LedgerStatus",
        "LegacyFcmClient",
        "LegacyMessage",
        "LegacyNotification",
        "LegacyPriority",
        "LegacyResult",
        "LightSettings",
        "Listener",
        "LiveActivityEvent",
        "Localized",
        "Message",
        "Metrics",
        "Notification",
        "NotificationPriority",
        "NotificationProxy",
        "Outcome",
        "ProtocolError",
        "ProviderClient",
        "Proxy",
        "ProxyError",
        "PushEngine",
        "PushModel",
        "PushRejected",
        "PushType",
        "PushcoreError",
        "QUEUE_CHECKS",
        "QueueError",
        "QueueFull",
        "QueueReadOnly",
        "QueueRefused",
        "QueueStats",
        "QueueUnavailable",
        "Rate",
        "Reason",
        "Reference",
        "RemoteNotification",
        "ResponseTimeout",
        "ResponseTooLarge",
        "Result",
        "RetryPolicy",
        "ServiceAccount",
        "Sound",
        "Source",
        "SourceUnavailable",
        "Status",
        "StoredValue",
        "StreamReset",
        "Subscription",
        "Template",
        "TokenKind",
        "TopicChange",
        "Topics",
        "TransportError",
        "Trip",
        "Verdict",
        "Visibility",
        "WebpushConfig",
        "WebpushFcmOptions",
        "Worker",
        "WorkerHeartbeat",
        "WorkerReport",
        "inline_chunks",
        "notifications",
        "open_queue",
        "push_id",
        "recognise",
        "to_legacy",
        "to_message",
        "to_notification",
        "to_push",
    ]
