"""docs/guides/gateway.md and from-gorush.md say what is so: their configs are read, their requests are sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from pushcore.cli.main import main
from pushcore.gateway import webhooks
from pushcore.gateway.config import (
    ApnsSection,
    AppSection,
    CallerSection,
    FcmSection,
    FleetSection,
    LimitsSection,
    ServerSection,
    WebhookSection,
)
from pushcore.gateway.config_file import read_config
from pushcore.gateway.plain.batch import MOST_PUSHES
from pushcore.gateway.plain.messages import PushRequest
from pushcore.gateway.plain.stream import WINDOW
from pushcore.gateway.senders import REQUEST
from pushcore.reasons import Verdict
from tests.support.gateway import fakes_and_gateway

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PAGE = (GUIDES / "gateway.md").read_text()
GORUSH = (GUIDES / "from-gorush.md").read_text()
IPHONE = f"{1:064x}"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def test_the_config_can_be_read_with_its_webhook(tmp_path: Path) -> None:
    config, webhook = blocks(PAGE, "toml")
    file = tmp_path / "gateway.toml"
    file.write_text(config.replace("[[caller]]", webhook + "\n[[caller]]"))
    read = read_config(file)
    assert read.app[0].webhook[0].results == "dead"
    assert read.app[0].apns[0].environments == ("production", "sandbox")


@pytest.mark.parametrize(
    "section",
    [
        ServerSection,
        LimitsSection,
        FleetSection,
        AppSection,
        ApnsSection,
        FcmSection,
        WebhookSection,
        CallerSection,
    ],
)
def test_every_key_is_in_the_table(section: Any) -> None:
    table = PAGE[PAGE.index("## Every key of the config") : PAGE.index("## Webhooks")]
    for field in msgspec.structs.fields(section):
        if field.encode_name not in ("apns", "fcm", "expo", "webhook"):
            assert re.search(rf"`(\[.*\] )?{re.escape(field.encode_name)}`", table), field.encode_name


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (ServerSection, "host"),
        (ServerSection, "port"),
        (ServerSection, "access-log"),
        (LimitsSection, "body"),
        (LimitsSection, "stream-line"),
        (LimitsSection, "connections"),
        (FleetSection, "instances"),
        (AppSection, "android"),
        (FcmSection, "confirm"),
        (CallerSection, "concurrent"),
    ],
)
def test_the_defaults_are_those_of_the_table(section: Any, key: str) -> None:
    table = PAGE[PAGE.index("## Every key of the config") : PAGE.index("## Webhooks")]
    (row,) = [
        line.split(" | ") for line in table.splitlines() if re.match(rf"\| [^|]*`(\[.*\] )?{key}`", line)
    ]
    (field,) = [field for field in msgspec.structs.fields(section) if field.encode_name == key]
    assert str(field.default).lower() in row[1].split(", ")


def test_the_default_results_of_a_webhook_are_named() -> None:
    (field,) = [field for field in msgspec.structs.fields(WebhookSection) if field.name == "results"]
    assert f'the default is `"{field.default}"`' in PAGE


def test_every_field_and_verdict_is_named() -> None:
    for field in msgspec.structs.fields(PushRequest):
        assert f"`{field.name}`" in PAGE, field.name
    for verdict in Verdict:
        assert f"`{verdict.value}`" in PAGE, verdict


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"at most {MOST_PUSHES}" in PAGE
    assert f"at most {WINDOW} pushes" in PAGE
    assert f"within {REQUEST:g} s" in PAGE
    assert f"up to {webhooks.BATCH}, within a second" in PAGE
    assert ", ".join(f"{delay:g}" for delay in webhooks.DELAYS[:-1]) + " and 120 s" in PAGE
    assert f"{webhooks.MOST_QUEUED:,}".replace(",", " ") + " results wait" in PAGE


async def test_the_requests_of_the_pages_are_accepted() -> None:
    async with fakes_and_gateway() as (_, _, client):
        for text in (*blocks(PAGE, "json"), *blocks(GORUSH, "json")):
            body = json.loads(
                text.replace('"…"', f'"{IPHONE}"').replace("TOKEN_1", IPHONE).replace("TOKEN_2", IPHONE)
            )
            if "payload" in body:
                assert (await client.push(**body))["verdict"] == "ACCEPTED"
            elif "template" in body:
                response = await client.post("/v1/push/batch", orjson.dumps(body))
                assert {result["verdict"] for result in response.json()["results"]} == {"ACCEPTED"}


def test_a_token_of_the_command_is_what_the_config_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", "--new-token", "web"]) == 0
    (config, _) = blocks(PAGE, "toml")
    file = tmp_path / "gateway.toml"
    file.write_text(config.partition("[[caller]]")[0] + capsys.readouterr().out)
    assert read_config(file).caller[0].name == "web"
