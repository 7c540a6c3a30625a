"""Credentials that are read again: what has changed is used, what cannot be used changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakeservers import Certificates, FakeServiceAccount
from pushcore.apns.client import ApnsClient
from pushcore.cli.run.client_options import ClientOptions
from pushcore.cli.run.renewal import Renewal
from tests.unit.cli.credentials import AUTHORITY, KEY

SAME = "the credentials have not changed"
NEW = "new credentials are in use"


def account(place: Path, name: str) -> None:
    """The file of an account of the same project."""
    FakeServiceAccount.create(name=name).write(place / "account.json", "https://127.0.0.1:1/token")


@pytest.fixture
def options(tmp_path: Path) -> ClientOptions:
    (tmp_path / "key.p8").write_bytes(KEY)
    (tmp_path / "ca.pem").write_bytes(AUTHORITY)
    account(tmp_path, "pusher")
    return ClientOptions(
        apns_key=str(tmp_path / "key.p8"),
        key_id="ABC123DEFG",
        team_id="TEAM123456",
        topic="com.example.app",
        fcm_service_account=str(tmp_path / "account.json"),
        ca_file=str(tmp_path / "ca.pem"),
    )


def test_only_what_has_changed_is_used(options: ClientOptions, tmp_path: Path) -> None:
    clients = options.clients()
    renewal = Renewal(options, clients)
    assert renewal.renew(options) == [f"APNs: {SAME}", f"FCM: {SAME}"]
    assert renewal.renew(replace(options, key_id="ABC123DEFH")) == [f"APNs: {NEW}", f"FCM: {SAME}"]
    apns: Any = clients["apns"]
    assert isinstance(apns, ApnsClient)
    assert apns._dispatcher._key is not None
    assert apns._dispatcher._key.key_id == "ABC123DEFH"
    account(tmp_path, "second")
    assert renewal.renew(replace(options, key_id="ABC123DEFH")) == [f"APNs: {SAME}", f"FCM: {NEW}"]


def test_a_certificate_in_the_place_of_the_key(options: ClientOptions, tmp_path: Path) -> None:
    certs = Certificates.create(tmp_path)
    (tmp_path / "certificate.pem").write_bytes(certs.client_certificate("com.example.app").pem())
    certificate = ClientOptions(
        apns_cert=str(tmp_path / "certificate.pem"), topic=options.topic, ca_file=options.ca_file
    )
    options = replace(options, fcm_service_account=None)
    clients = options.clients()
    renewal = Renewal(options, clients)
    assert renewal.renew(certificate) == [f"APNs: {NEW}"]
    assert list(clients["apns"].expiries) == []  # it is not open
    other_team = replace(options, team_id="TEAM654321")
    assert "--team-id cannot change" in renewal.renew(other_team)[0]
    assert renewal.renew(options) == [f"APNs: {NEW}"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key_id": "short"}, "key_id must be 10 characters"),
        ({"apns_key": "missing.p8"}, "missing.p8"),
        ({"team_id": "TEAM654321"}, "--team-id cannot change while the command runs"),
        ({"apns_key": None}, "expected either --apns-key FILE"),
    ],
)
def test_unusable_credentials_change_nothing(
    options: ClientOptions, changed: dict[str, Any], words: str
) -> None:
    clients = options.clients()
    before = clients["apns"]._dispatcher._key  # type: ignore[union-attr]
    renewal = Renewal(options, clients)
    said, _ = renewal.renew(replace(options, **changed))
    assert said.startswith("APNs: the new credentials cannot be used, so the old ones are kept: ")
    assert words in said
    assert clients["apns"]._dispatcher._key is before  # type: ignore[union-attr]
    assert renewal.renew(options)[0] == f"APNs: {SAME}"


def test_the_key_of_the_sandbox_is_renewed_with_that_of_production(options: ClientOptions) -> None:
    options = replace(options, environment="auto", fcm_service_account=None)
    clients = options.clients()
    assert Renewal(options, clients).renew(replace(options, key_id="ABC123DEFH")) == [f"APNs: {NEW}"]
    keys = [client._dispatcher._key.key_id for client in clients.all]  # type: ignore[union-attr]
    assert keys == ["ABC123DEFH", "ABC123DEFH"]
