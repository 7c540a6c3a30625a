"""An app of the configuration: which of its clients a push goes through, its credentials, and whether it has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pushcore.audience.problems import BadInput
from pushcore.errors import ConfigurationError
from pushcore.gateway.apps import App, apns_auth, base_topic, fingerprint, make_expo, make_fcm, read_line
from pushcore.gateway.config import ApnsSection, AppSection, ExpoSection, WebhookSection
from pushcore.gateway.problems import GatewayProblem
from pushcore.http2.tls import ApnsCertificate
from tests.support.key_material import materials
from tests.support.virtual import run
from tests.support.virtual_gateway import TOPIC, apns_section, app, fcm_section


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_push_goes_through_the_key_of_its_environment_and_topic() -> None:
    both = apns_section(topics=(TOPIC, "com.example.second"), environments=("production", "sandbox"))
    other = apns_section(topics=("com.example.third", TOPIC), key_id="XYZ123DEFG")
    shop = App(app(apns=(both, other)))
    assert [(sender.provider, sender.environment) for sender in shop.senders] == [
        *(("apns", "production"), ("apns", "sandbox"), ("apns", "production"), ("fcm", ""))
    ]
    production, sandbox, third, fcm = shop.senders
    assert shop.apns() is shop.apns("production", TOPIC) is shop.apns(None, f"{TOPIC}.voip") is production
    assert shop.apns("sandbox") is shop.apns("sandbox", "com.example.second") is sandbox
    assert shop.apns(None, "com.example.third") is third
    assert shop.to_fcm() is fcm
    assert shop.default_topic == TOPIC


@pytest.mark.parametrize(
    ("environment", "topic", "name", "words"),
    [
        ("sandbox", None, "no-environment", "sends to APNs in production only"),
        (None, "com.other", "no-topic", f"its topics are {TOPIC}"),
    ],
)
def test_an_app_without_the_key_rejects_the_push(environment: Any, topic: Any, name: str, words: str) -> None:
    with pytest.raises(GatewayProblem, match=words) as raised:
        App(app()).apns(environment, topic)
    assert (raised.value.status, raised.value.name) == (422, name)


def test_an_app_with_one_provider() -> None:
    with pytest.raises(GatewayProblem, match="no key or certificate for APNs"):
        App(app(apns=())).apns()
    with pytest.raises(GatewayProblem, match="no service account for FCM"):
        App(app(fcm=None)).to_fcm()


@pytest.mark.parametrize(
    ("topic", "base"),
    [(TOPIC, TOPIC), (f"{TOPIC}.voip", TOPIC), (f"{TOPIC}.push-type.liveactivity", TOPIC), ("voip", "voip")],
)
def test_the_bundle_id_of_a_topic(topic: str, base: str) -> None:
    assert base_topic(topic) == base


def test_certificates_in_one_file_in_two_and_with_a_passphrase(tmp_path: Path) -> None:
    made = materials()
    certificate, _, key = made["certificate with key"].partition("-----BEGIN PRIVATE KEY")
    whole = ApnsSection(
        topics=(TOPIC,), certificate=written(tmp_path / "a.pem", made["certificate with key"])
    )
    assert isinstance(apns_auth(whole), ApnsCertificate)
    split = ApnsSection(
        topics=(TOPIC,),
        certificate=written(tmp_path / "b.pem", certificate),
        certificate_key=written(tmp_path / "b.key", "-----BEGIN PRIVATE KEY" + key),
    )
    assert isinstance(apns_auth(split), ApnsCertificate)
    locked = ApnsSection(
        topics=(TOPIC,),
        certificate=written(tmp_path / "b.pem", certificate),
        certificate_key=written(tmp_path / "c.key", made["encrypted"]),
        certificate_password_file=written(tmp_path / "password", "correct horse\r\n"),
    )
    assert isinstance(apns_auth(locked), ApnsCertificate)
    written(tmp_path / "password", "wrong\n")
    with pytest.raises(ConfigurationError):
        apns_auth(locked)


def test_fcm_asks_again_about_tokens_where_the_config_says_so() -> None:
    assert make_fcm(fcm_section()).project_id == "my-project"
    assert make_fcm(fcm_section(project="other")).project_id == "other"
    confirms = [make_fcm(fcm_section(confirm=confirm)) for confirm in (True, False)]
    assert vars(confirms[0]._dispatcher) != vars(confirms[1]._dispatcher)


def test_expos_access_token_is_the_line_of_a_file(tmp_path: Path) -> None:
    section = ExpoSection(forward="expo", access_token_file=written(tmp_path / "token", "secret-token\n"))
    assert (b"authorization", b"Bearer secret-token") in make_expo(section)._template.fields
    assert not any(name == b"authorization" for name, _ in make_expo(ExpoSection())._template.fields)


@pytest.mark.parametrize("text", ["", "\n", "two lines\nof text", "a b", "é", "a\x07b"])
def test_a_malformed_access_token_file_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput, match="one line of printable ASCII") as raised:
        read_line(written(tmp_path / "token", text), "a token")
    assert len(text) < 3 or text not in str(raised.value)


def test_a_new_key_under_an_old_name_is_another_app(tmp_path: Path) -> None:
    key = written(tmp_path / "key.p8", materials()["p8"])
    secret = written(tmp_path / "secret", "a")
    hook = WebhookSection(url="https://example.com", secret_file=secret)
    section = app(apns=(apns_section(key=key),), webhook=(hook,))
    before = fingerprint(section)
    assert fingerprint(section) == before
    assert fingerprint(app(apns=(apns_section(key=key),), webhook=(hook,), android="data")) != before
    written(tmp_path / "secret", "b")
    assert fingerprint(section) != before
    written(tmp_path / "secret", "a")
    assert fingerprint(section) == before
    written(tmp_path / "key.p8", materials()["p8"] + "\n")
    assert fingerprint(section) != before


class Part:
    """A part of an app that writes down what is done with it."""

    def __init__(self, log: list[str], name: str) -> None:
        self._log, self._name = log, name

    async def _do(self, verb: str) -> None:
        self._log.append(f"{verb} {self._name}")

    async def open(self) -> None:
        await self._do("open")

    async def close(self) -> None:
        await self._do("close")

    async def close_when_idle(self) -> None:
        await self._do("close idle")


class Hook(Part):
    def open(self) -> None:  # type: ignore[override]
        self._log.append(f"open {self._name}")


@pytest.mark.parametrize("forwards", [True, False])
def test_webhooks_are_open_before_the_senders_and_close_after_them(forwards: bool) -> None:
    section = AppSection(id="shop", fcm=fcm_section(), expo=ExpoSection(forward="expo" if forwards else None))
    shop, log = App(section), list[str]()
    parts: Any = shop
    parts.senders, parts._webhooks = [Part(log, "sender")], [Hook(log, "hook")]
    assert (shop.expo is not None) == forwards
    expo = ["expo"] if forwards else []
    if forwards:
        parts.expo = Part(log, "expo")

    async def work() -> None:
        await shop.open()
        assert log == ["open hook", "open sender", *(f"open {name}" for name in expo)]
        log.clear()
        await shop.close_when_idle()
        assert log == ["close idle sender", *(f"close idle {name}" for name in expo), "close hook"]
        log.clear()
        await shop.close()
        assert log == ["close sender", *(f"close {name}" for name in expo), "close hook"]

    run(work())


def test_a_webhook_gets_the_results_of_every_sender(tmp_path: Path) -> None:
    hook = WebhookSection(
        url="https://example.com",
        secret_file=written(tmp_path / "s", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    )
    shop = App(app(webhook=(hook,)))
    assert all(list(sender.webhooks) == shop._webhooks for sender in shop.senders)
    assert len(shop._webhooks) == 1
