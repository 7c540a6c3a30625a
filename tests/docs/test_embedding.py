"""The examples in docs/guides/embedding.md run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fakeservers import ApnsRegistry, FakeApns, fated_token
from pushcore import ApnsClient, ApnsKey, Journal, PushEngine, Verdict
from pushcore.auth.provider_token import Environment

BLOCKS = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "docs" / "guides" / "embedding.md").read_text(),
    re.DOTALL,
)


async def test_the_web_service_sends_and_the_engine_is_watched() -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    async with FakeApns() as fake:
        # The ids in the example are the reader's; the fake has its own.
        fake.registry.add_key("ABC123DEFG", "TEAM123456", Path(fake.key_file).read_bytes())
        fake.registry.allow("TEAM123456", "com.example.app")
        async with names["lifespan"](fake.key_file, url=fake.url, ca_file=fake.ca_file) as apns:
            assert (await names["notify"](apns, "ab" * 32)).ok
            assert (await names["notify"](apns, fated_token("Unregistered"))).drop_token
            engine = names["watched"](apns)
            async with engine:
                push = names["Notification"]("ab" * 32, {"aps": {}})
                results = [result async for result in engine.send_many([push])]
        assert [result.verdict for result in results] == [Verdict.ACCEPTED]


async def test_a_template_and_its_rows() -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    rows = [{"token": "ab" * 32, "name": "Ada", "unread": 2, "order": 7}, {"token": "ab" * 32, "name": "Bob"}]
    push = names["one"](rows[0])
    assert json.loads(push.payload) == {
        "aps": {"alert": {"title": "Hello Ada"}, "badge": 2},
        "body": {"order": 7},
    }
    async with FakeApns() as fake:
        fake.registry.add_key("ABC123DEFG", "TEAM123456", Path(fake.key_file).read_bytes())
        fake.registry.allow("TEAM123456", "com.example.app")
        async with (
            names["lifespan"](fake.key_file, url=fake.url, ca_file=fake.ca_file) as apns,
            PushEngine(apns) as engine,
        ):
            assert await names["many"](engine, rows) == {
                2: "there is no key 'unread' (badge of the template)"
            }
        assert [request.body for request in fake.received] == [push.payload]


async def test_two_keys_and_a_channel() -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    async with FakeApns() as fake, FakeApns() as other:
        fake.registry.add_key("ABC123DEFG", "TEAM123456", Path(fake.key_file).read_bytes())
        watch = Path(other.key_file).read_bytes()
        fake.registry.add_key("WATCHKEY01", "TEAM123456", watch, topics=["com.example.watch"])
        fake.registry.allow("TEAM123456", "com.example.app")
        options = {"url": fake.url, "ca_file": fake.ca_file}
        topics = ["com.example.watch", "com.example.app", None]
        pushes = [names["Notification"]("ab" * 32, {"aps": {}}, topic=topic) for topic in topics]
        async with names["with_two_keys"](other.key_file, fake.key_file, **options) as engine:
            results = [result async for result in engine.send_many(pushes)]
        assert [result.verdict for result in results] == [Verdict.ACCEPTED] * 3
        assert len(fake.tokens_seen) == 2
        async with names["lifespan"](fake.key_file, **options) as apns:
            result = await names["goal"](apns, "1:0", url=fake.channels_url)
        assert result.ok
        assert json.loads(fake.received[-2].body)["aps"]["content-state"] == {"score": "1:0"}
        assert fake.counts[201, ""] == fake.counts[204, ""] == 1


async def test_a_campaign_with_a_journal(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    tokens, path = tmp_path / "tokens.txt", tmp_path / "campaign.db"
    tokens.write_text("\n".join(f"{number:064x}" for number in range(100)))
    async with FakeApns() as fake:
        fake.registry.add_key("ABC123DEFG", "TEAM123456", Path(fake.key_file).read_bytes())
        fake.registry.allow("TEAM123456", "com.example.app")
        async with names["lifespan"](fake.key_file, url=fake.url, ca_file=fake.ca_file) as apns:
            for expected in (100, 0):
                async with PushEngine(apns) as engine:
                    assert await names["campaign"](engine, tokens, path) == expected
        assert fake.counts == {(200, ""): 100}
    assert Journal.read(path).status().complete  # without `with`, as the page has it
    assert [each.row for each in Journal.read(path).results(Verdict.ACCEPTED)] == list(range(1, 101))


async def test_both_environments_and_a_key_that_is_renewed() -> None:
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    fakes = [FakeApns(registry=ApnsRegistry(known_only=True)) for _ in range(2)]
    async with fakes[0] as first, fakes[1] as second:
        clients = []
        environments: tuple[Environment, ...] = ("production", "sandbox")
        for fake, environment in zip(fakes, environments, strict=True):
            for key_id in ("ABC123DEFG", "RENEWED001"):
                fake.registry.add_key(key_id, "TEAM123456", Path(fake.key_file).read_bytes())
            fake.registry.allow("TEAM123456", "com.example.app")
            key = ApnsKey.from_file(fake.key_file, key_id="ABC123DEFG", team_id="TEAM123456")
            clients.append(
                ApnsClient(
                    key, topic="com.example.app", environment=environment, url=fake.url, ca_file=fake.ca_file
                )
            )
        first.registry.add_device("aa" * 32)
        second.registry.add_device("bb" * 32)
        devices = [("aa" * 32, None), ("bb" * 32, None), ("cc" * 32, "sandbox")]
        found = await names["environments"](*clients, devices)
        assert found == {"aa" * 32: "production", "bb" * 32: "sandbox", "cc" * 32: None}
        async with clients[0] as apns:
            assert (await apns.send(names["Notification"]("aa" * 32, {"aps": {}}))).ok
            names["renew"](apns, first.key_file, "RENEWED001")
            assert (await apns.send(names["Notification"]("aa" * 32, {"aps": {}}))).ok
        assert len(first.tokens_seen) == 2
