"""A gateway with all of Expo's dialect, on fakes: keys for sealing, a project, and a second gateway that replaces Expo."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fakeservers import FakeApns, FakeFcm
from pushcore.gateway.config import ExpoSection, GatewayConfig, SealingSection
from pushcore.gateway.expo.sealed import new_key
from tests.support.gateway import GatewayClient, app_section, config_of, gateway_of

SEND, RECEIPTS, GET_TOKEN = (
    f"/--/api/v2/push/{name}" for name in ("send", "getReceipts", "getExpoPushToken")
)
PROJECT = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
PACKAGE = "com.example.android"


def key_file(directory: Path, name: str, keys: int = 1) -> str:
    """A new file of sealing keys."""
    path = directory / name
    path.write_text("".join(f"{new_key(os.urandom)}\n" for _ in range(keys)))
    return str(path)


def expo_config(apns: FakeApns, fcm: FakeFcm, directory: Path, **changes: Any) -> GatewayConfig:
    """The app "shop" with `PROJECT` and `PACKAGE`; `changes` of `ExpoSection`."""
    directory.mkdir(exist_ok=True)
    section = ExpoSection(**{"project_ids": (PROJECT,), "packages": (PACKAGE,), **changes})
    sealing = SealingSection(
        token_keys=key_file(directory, "tokens"), receipt_keys=key_file(directory, "receipts")
    )
    return config_of(app_section(apns, fcm, expo=section), sealing=sealing)


@contextlib.asynccontextmanager
async def expo_gateway(
    directory: Path, **changes: Any
) -> AsyncIterator[tuple[FakeApns, FakeFcm, GatewayClient]]:
    """Both fakes, and a gateway on them."""
    async with (
        FakeApns() as apns,
        FakeFcm() as fcm,
        gateway_of(expo_config(apns, fcm, directory, **changes)) as client,
    ):
        yield apns, fcm, client


async def sealed_token(client: GatewayClient, native: str, app_id: str, **changes: Any) -> str:
    """The sealed token that an app gets for its device."""
    kind = "apns" if len(native) == 64 else "fcm"
    body = {"type": kind, "deviceToken": native, "appId": app_id, "projectId": PROJECT, "deviceId": "d"}
    response = await client.post(GET_TOKEN, {"development": False, **body, **changes}, token=None)
    assert response.status_code == 200, response.text
    token: str = response.json()["data"]["expoPushToken"]
    return token
