"""`pushcore channels`: processes against a fake APNs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeApns, Fault
from fakeservers.faults.actions import Stall
from fakeservers.faults.when import When
from tests.e2e.cli.test_check import options_of, run

APP = "com.example.app"
UPDATE = {"aps": {"event": "update", "timestamp": 1_700_000_000, "content-state": {"goals": 1}}}


async def channels(fake: FakeApns, *words: str, **changes: str | None) -> tuple[int | None, str, str]:
    """Exit status, output and errors of a command that asks the server for channels."""
    url = {} if words[0] == "broadcast" else {"channels_url": fake.channels_url}
    return await run("channels", *words, *options_of(fake, None, **{**url, **changes}))


async def test_the_life_of_a_channel(certs: Certificates, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps(UPDATE))
    async with FakeApns(certs=certs) as fake:
        status, out, errors = await channels(fake, "create", "--store")
        assert (status, errors) == (0, "")
        channel = out.strip()
        assert fake.registry.channels.of(APP) == {channel: 1}
        status, out, _ = await channels(fake, "create", "--json")
        other = json.loads(out)
        assert (status, other["stores"]) == (0, False)

        assert (await channels(fake, "list"))[:2] == (0, f"{channel}\n{other['id']}\n")
        assert json.loads((await channels(fake, "list", "--json"))[1]) == {"channels": [channel, other["id"]]}
        assert (await channels(fake, "show", channel))[:2] == (0, "stores its newest message\n")
        assert (await channels(fake, "show", other["id"]))[:2] == (0, "stores no message\n")
        assert json.loads((await channels(fake, "show", channel, "--json"))[1]) == {
            "id": channel,
            "stores": True,
        }

        words = ("broadcast", channel, str(payload), "--priority", "5", "--expiration", "1800000000")
        status, out, errors = await channels(fake, *words)
        assert (status, errors) == (0, "")
        assert len(out.strip()) == 36
        sent = fake.received[-1]
        assert json.loads(sent.body) == UPDATE
        assert (sent.headers["apns-priority"], sent.headers["apns-expiration"]) == ("5", "1800000000")
        status, out, _ = await channels(fake, "broadcast", other["id"], str(payload), "--json")
        assert (status, list(json.loads(out))) == (0, ["id"])

        assert await channels(fake, "delete", channel) == (0, "", "")
        assert fake.registry.channels.of(APP) == {other["id"]: 0}


async def test_an_error_is_one_sentence(certs: Certificates, tmp_path: Path) -> None:
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps(UPDATE))
    async with FakeApns(certs=certs) as fake:
        for words, changes, status, sentence in (
            (("show", "Zm9v"), {}, 1, "ChannelNotRegistered; Create the channel again"),
            (("delete", "Zm9v"), {}, 1, "ChannelNotRegistered"),
            (("broadcast", "Zm9v", str(payload)), {}, 1, "ChannelNotRegistered"),
            (("create",), {"topic": "com.example.other"}, 3, "403 TopicMismatch; Use a key"),
            (("create",), {"key_id": "OTHERKEY01"}, 3, "InvalidProviderToken"),
            (("create",), {"channels_url": None}, 2, "--channels-url is missing; --apns-url needs it"),
            (("create",), {"topic": None}, 2, "--topic is missing"),
            (
                ("create",),
                {"apns_key": None, "key_id": None, "team_id": None},
                2,
                "expected either --apns-key",
            ),
            (("show", "a b"), {}, 2, "BadChannelId (the channel id is not base64)"),
            (("broadcast", "Zm9v", str(payload)), {"priority": "7"}, 2, "BadPriority"),
            (("broadcast", "Zm9v", str(tmp_path / "none")), {}, 2, "cannot be read"),
            (("show",), {}, 2, "Missing argument 'CHANNEL'"),
        ):
            outcome = await channels(fake, *words, **changes)
            assert outcome[:2] == (status, ""), (words, changes, outcome)
            assert outcome[2].startswith("pushcore: ")
            assert outcome[2].count("\n") == 1
            assert sentence in outcome[2]


async def test_no_response(certs: Certificates) -> None:
    async with FakeApns(certs=certs) as fake:
        fake.faults.add(Fault(what=Stall(), when=When(path="/1/")))
        status, out, errors = await channels(fake, "list", timeout="0.3")
        assert (status, out) == (1, "")
        assert "UNKNOWN" in errors


@pytest.mark.parametrize("name", ["create", "list", "show", "delete", "broadcast"])
async def test_help(name: str) -> None:
    status, out, _ = await run("channels", name, "--help-all")
    assert status == 0
    assert "Exit status:" in out
    assert "--apns-key FILE" in out
    assert ("--channels-url" in out) == (name != "broadcast")
    assert "fcm" not in out
