"""SETTINGS, stream limits, fates that concern the connection, client certificates."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from fakeservers import ApnsRegistry, Certificates, FakeApns, fated_token
from fakeservers.certs import certificate_topics
from fakeservers.serving.types import MAX_CONCURRENT_STREAMS, REFUSED_STREAM
from tests.fakeservers.client import Client, headers_for, provider_token, soon

pytestmark = [pytest.mark.parametrize("loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.uvloop)])]


async def test_settings_are_apples(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        assert client.settings == [{1: 4096, 3: 1, 4: 65_535, 5: 16_384, 6: 8000}]
        assert client.h2.outbound_flow_control_window == 65_535
        assert (fake.connections, fake.accepted) == (1, 1)


async def test_the_first_good_token_opens_a_thousand_streams(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        assert (await client.push(headers_for(fake, "no.good.token"))).status == 403
        assert client.streams == 1
        token = provider_token(fake)
        assert (await client.push(headers_for(fake, token, apns_topic="com.example.other"))).status == 400
        assert client.streams == 1000
        assert client.settings[1:] == [{3: 1000}]
        streams = [client.request(headers_for(fake, token, f"{n:064x}")) for n in range(300)]
        for stream in streams:
            assert (await client.reply(stream)).status == 200
        assert fake.counts[200, ""] == 300
        assert {record.token for record in fake.received if record.status == 200} == {
            f"{n:064x}" for n in range(300)
        }


async def test_more_streams_than_allowed(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        stalled = client.request(headers_for(fake, token, fated_token("Stall")))
        await client.until(lambda: client.streams == 1000)
        fake.update_settings({MAX_CONCURRENT_STREAMS: 1})
        await client.until(lambda: client.streams == 1)
        client.pretend_streams(10)
        assert (await client.push(headers_for(fake, token))).reset == REFUSED_STREAM
        fake.update_settings({MAX_CONCURRENT_STREAMS: 2})
        assert (await client.push(headers_for(fake, token))).status == 200
        assert client.goaway is None
        assert stalled not in client.ended


async def test_requests_before_the_limit_is_known(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        client.pretend_streams(100)  # as a client does that has not read our SETTINGS yet
        headers = headers_for(fake, provider_token(fake))
        replies = [await client.reply(stream) for stream in [client.request(headers) for _ in range(100)]]
        refused = [reply for reply in replies if reply.reset == REFUSED_STREAM]
        assert refused
        assert len(refused) + sum(reply.status == 200 for reply in replies) == 100
        assert (await client.push(headers)).status == 200
        assert client.goaway is None


async def test_the_bare_profile(loop: str) -> None:
    async with FakeApns("bare") as fake, await Client.connect(fake) as client:
        assert client.settings == [{1: 4096, 3: 1000, 4: 1 << 24, 5: 16_384, 6: 8000}]
        reply = await client.push(headers_for(fake, method="GET", path="/whatever"))
        assert (reply.status, len(reply.headers["apns-id"])) == (200, 36)
        assert client.h2.outbound_flow_control_window > (1 << 24) - 1000
        assert fake.counts == {(200, ""): 1}


async def test_answers_keep_to_the_delay(loop: str) -> None:
    async with FakeApns(delay=0.05) as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        before = time.monotonic()
        streams = [client.request(headers_for(fake, token)) for _ in range(100)]
        for stream in streams:
            assert (await client.reply(stream)).status == 200
        assert 0.05 <= time.monotonic() - before < 1.0


async def test_a_slow_answer_is_overtaken(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        before = time.monotonic()
        slow = client.request(headers_for(fake, token, fated_token("Slow", ms=60)))
        assert (await client.push(headers_for(fake, token))).status == 200
        assert slow not in client.ended
        assert (await client.reply(slow)).status == 200
        assert 0.06 <= time.monotonic() - before < 1.0


async def test_a_stall_holds_one_stream_only(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        stalled = client.request(headers_for(fake, token, fated_token("Stall")))
        await client.until(lambda: client.streams == 1000)
        assert (await client.push(headers_for(fake, token))).status == 200
        assert stalled not in client.ended
        assert fake.counts[0, "Stall"] == 1


async def test_resets(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        assert (await client.push(headers_for(fake, token, fated_token("RefusedStream")))).reset == 7
        assert (await client.push(headers_for(fake, token, fated_token("InternalReset")))).reset == 2
        assert (await client.push(headers_for(fake, token))).status == 200


@pytest.mark.parametrize(("fate", "processed"), [("GoAway", True), ("GoAwayBefore", False)])
async def test_goaway(loop: str, fate: str, processed: bool) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        doomed = client.request(headers_for(fake, token, fated_token(fate)))
        behind = client.request(headers_for(fake, token))
        await client.until(lambda: client.lost)
        assert client.goaway is not None
        assert client.goaway.last_stream_id == (doomed if processed else doomed - 2)
        assert client.goaway.additional_data == b'{"reason":"Shutdown"}'
        assert client.replies[doomed].status == (200 if processed else 0)
        assert client.replies[behind].status == 0
        await soon(lambda: fake.connections == 0)


async def test_goaway_waits_for_the_answers_that_it_promises(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        token = provider_token(fake)
        await client.push(headers_for(fake, token))
        slow = client.request(headers_for(fake, token, fated_token("Slow", ms=50)))
        client.request(headers_for(fake, token, fated_token("GoAway")))
        assert (await client.reply(slow)).status == 200
        await client.until(lambda: client.lost)


async def test_cut(loop: str) -> None:
    async with FakeApns() as fake, await Client.connect(fake) as client:
        stream = client.request(headers_for(fake, provider_token(fake), fated_token("Cut")))
        await client.until(lambda: client.lost)
        assert client.replies[stream].status == 0
        assert client.goaway is None


async def test_the_end_is_announced_and_waits_for_nobody_who_is_stalled(loop: str) -> None:
    async with FakeApns(delay=0.05) as fake:
        client = await Client.connect(fake)
        async with client:
            token = provider_token(fake)
            await client.push(headers_for(fake, token))
            stalled = client.request(headers_for(fake, token, fated_token("Stall")))
            late = client.request(headers_for(fake, token))
            await soon(lambda: fake.server.counters.requests == 3)
            await fake.server.close()
            assert (await client.reply(late)).status == 200
            await client.until(lambda: client.lost)
            assert client.goaway is not None
            assert client.goaway.error_code == 0
            assert stalled not in client.ended


def certificate_file(fake: FakeApns, directory: Path, *topics: str, **options: tuple[str, ...]) -> str:
    file = directory / "client.pem"
    file.write_bytes(fake.certs.client_certificate("com.example.app", topics=topics, **options).pem())
    return str(file)


async def test_a_certificate_speaks_for_one_topic(loop: str, tmp_path: Path) -> None:
    async with FakeApns() as fake:
        pem = certificate_file(fake, tmp_path)
        async with await Client.connect(fake, pem=pem) as client:
            assert client.streams == 1000
            assert (await client.push(headers_for(fake, apns_topic=None))).status == 200
            assert (await client.push(headers_for(fake, "ignored.bad.token"))).status == 200
            reply = await client.push(headers_for(fake, apns_topic="com.example.other"))
            assert reply.reason == "TopicDisallowed"
            location = {"apns_push_type": "location", "apns_topic": "com.example.app.location-query"}
            assert (await client.push(headers_for(fake, **location))).reason == "Forbidden"
            for kind in ("voip", "complication"):  # such topics must be listed
                for named in (kind, None):
                    options = {"apns_push_type": named, "apns_topic": f"com.example.app.{kind}"}
                    assert (await client.push(headers_for(fake, **options))).reason == "TopicDisallowed"
            widgets = {"apns_push_type": "widgets", "apns_topic": "com.example.app.push-type.widgets"}
            assert (await client.push(headers_for(fake, **widgets))).status == 200


async def test_a_certificate_with_several_topics_must_name_one(loop: str, tmp_path: Path) -> None:
    async with FakeApns() as fake:
        pem = certificate_file(fake, tmp_path, "com.example.app.voip")
        async with await Client.connect(fake, pem=pem) as client:
            assert (await client.push(headers_for(fake, apns_topic=None))).reason == "MissingTopic"
            voip = headers_for(fake, apns_topic="com.example.app.voip", apns_push_type="voip")
            assert (await client.push(voip)).status == 200


async def test_a_certificate_of_the_other_environment(loop: str, tmp_path: Path) -> None:
    async with FakeApns(registry=ApnsRegistry(environment="production")) as fake:
        pem = certificate_file(fake, tmp_path, environments=("sandbox",))
        async with await Client.connect(fake, pem=pem) as client:
            assert (await client.push(headers_for(fake))).reason == "BadCertificateEnvironment"


async def test_a_foreign_certificate_fails_in_tls(loop: str, tmp_path: Path) -> None:
    stranger = Certificates.create(tmp_path / "stranger").client_certificate("com.example.app")
    (tmp_path / "client.pem").write_bytes(stranger.pem())
    async with FakeApns() as fake:
        try:
            client = await Client.connect(fake, pem=str(tmp_path / "client.pem"))
        except (ssl.SSLError, OSError):
            return  # TLS 1.2
        await client.until(lambda: client.lost)  # TLS 1.3 tells the client after its own handshake
        await soon(lambda: fake.connections == 0)


async def test_pkcs12_and_topics_are_read_back(loop: str, tmp_path: Path) -> None:
    topics = [f"com.example.number{n}" for n in range(20)]
    certificate = Certificates.create(tmp_path).client_certificate("com.example.app", topics=topics)
    for passphrase in (None, b"secret"):
        _, result, _ = pkcs12.load_key_and_certificates(certificate.pkcs12(passphrase), passphrase)
        assert result is not None
        assert certificate_topics(result) == {"com.example.app", *topics}


async def test_files_leave_with_the_fake_and_keys_are_private(loop: str, tmp_path: Path) -> None:
    async with FakeApns() as fake:
        made = [Path(fake.ca_file), Path(fake.key_file)]
        fake.write_config(tmp_path / "config")
        private = [fake.certs.key_file, fake.certs.server_file, fake.certs.directory / "ca-key.pem"]
        private.append(tmp_path / "config" / fake.certs.key_file.name)
        assert [os.stat(file).st_mode & 0o777 for file in private] == [0o600] * 4
        assert {item.name for item in (tmp_path / "config").iterdir()} == {
            "ca.pem",
            "apns.json",
            "AuthKey_FAKEKEY001.p8",
        }
    assert not any(file.exists() for file in made)
