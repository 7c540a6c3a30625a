"""Every push of docs/recipes is accepted by the strict fakes."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from fakeservers import FakeApns
from fakeservers.fcm.server import FakeFcm
from pushcore import ApnsClient, ApnsKey, FcmClient, Message, Notification, ServiceAccount

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
FID = "dPx6Y0k3Qm2Vb1N9zW8aLk"
ANDROID = f"{FID}:APA91bF5_dBk3mXo9Tq7vYwZ1uLh0sRc2eNj4iGp6"


def names_of(page: str) -> dict[str, Any]:
    """What the page's examples define, one after the other."""
    text = (RECIPES / page).read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, page, "exec", dont_inherit=True), names)
    return names


def pushes_of(names: dict[str, Any]) -> list[Notification | Message]:
    """What the functions make that take one text: a token, an installation id or a topic."""
    made = []
    for value in names.values():
        if inspect.isfunction(value):
            (first, *others) = inspect.signature(value).parameters
            if not others and value.__annotations__["return"] in (Notification, Message):
                ios = value.__annotations__["return"] is Notification
                made.append(
                    value({"token": "ab" * 32 if ios else ANDROID, "fid": FID, "topic": "news"}[first])
                )
    return made


def apns_client(fake: FakeApns) -> ApnsClient:
    key = ApnsKey.from_file(fake.key_file, key_id=fake.key_id, team_id=fake.team_id)
    return ApnsClient(key, topic=fake.topic, url=fake.url, ca_file=fake.ca_file)


@pytest.mark.parametrize(
    "page", sorted(page.name for page in RECIPES.glob("*.md") if page.name != "channels.md")
)
async def test_the_pushes_are_accepted(page: str) -> None:
    pushes = pushes_of(names_of(page))
    assert pushes
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        apns.registry.allow(apns.team_id, "com.example.app.tablet")
        account = ServiceAccount.from_file(fcm.service_account_file)
        async with apns_client(apns) as ios, FcmClient(account, url=fcm.url, ca_file=fcm.ca_file) as android:
            for push in pushes:
                result = await (ios.send(push) if isinstance(push, Notification) else android.send(push))
                assert result.ok, result


async def test_devices_are_subscribed_to_a_topic() -> None:
    async with FakeFcm() as fake:
        account = ServiceAccount.from_file(fake.service_account_file)
        async with FcmClient(account, url=fake.url, ca_file=fake.ca_file) as fcm:
            assert await names_of("topics.md")["subscribe"](fcm, "news", [ANDROID]) == []


async def test_a_channel_is_created_and_a_goal_broadcast() -> None:
    async with FakeApns() as fake, apns_client(fake) as apns:
        result = await names_of("channels.md")["match"](apns, url=fake.channels_url)
    assert result.ok


async def test_a_client_for_each_team_environment_and_project(tmp_path: Path) -> None:
    async with FakeApns() as apns, FakeFcm(certs=apns.certs) as fcm:
        for name in ("AuthKey_ABC123DEFG.p8", "AuthKey_NEWS567890.p8"):
            (tmp_path / name).write_bytes(Path(apns.key_file).read_bytes())
        (tmp_path / "service-account.json").write_bytes(Path(fcm.service_account_file).read_bytes())
        names = names_of("several-apps.md")
        assert len(names["clients"](str(tmp_path))) == 4
        names["engine"](str(tmp_path))
