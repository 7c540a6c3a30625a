"""A mistake in gateway.toml is one sentence with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput
from pushcore.gateway.callers import digest_of, new_token
from pushcore.gateway.config import is_loopback, is_name
from pushcore.gateway.config_file import read_config

GOOD = """
[server]
port = 9000

[[app]]
id = "shop"

[[app.apns]]
key = "AuthKey_ABC123DEFG.p8"
key-id = "ABC123DEFG"
team-id = "TEAM123456"
topics = ["com.example.shop"]

[app.fcm]
service-account = "/keys/shop.json"

[[caller]]
name = "web"
tokens = ["{digest}"]
apps = ["shop"]
""".replace("{digest}", "ab" * 32)

EXPO = '[app.expo]\nproject-ids = ["f47ac10b-58cc-4372-a567-0e02b2c3d479"]\npackages = ["a.b"]\n'
SEALING = "[sealing]\ntoken-keys = 't'\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return str(path)


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(BadInput) as raised:
        read_config(written(tmp_path, text))
    sentence = str(raised.value)
    assert "\n" not in sentence
    return sentence.replace(str(tmp_path), "")


def test_a_good_file(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, GOOD))
    assert config.server.port == 9000
    assert config.app[0].apns[0].key == str(tmp_path / "AuthKey_ABC123DEFG.p8")
    assert config.app[0].fcm is not None
    assert config.app[0].fcm.service_account == "/keys/shop.json"
    assert config.caller[0].concurrent == 64
    assert config.on_port(1).server.port == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("port = 9000", "prot = 9000", "/gateway.toml:3: unknown key 'prot' in [server]"),
        ("port = 9000", 'port = "9"', "/gateway.toml:3: port: expected a whole number, got a string"),
        ("key-id =", "keyid =", "/gateway.toml:10: unknown key 'keyid' in [app.apns]"),
        ('id = "shop"', "", "/gateway.toml:5: [app] has no id"),
        ('id = "shop"', 'id = "a b"', "/gateway.toml:6: id: expected a string matching"),
        ('team-id = "TEAM123456"', "", "/gateway.toml:8: key needs key-id and team-id"),
        ('key = "AuthKey_ABC123DEFG.p8"', "", "/gateway.toml:8: expected either key or certificate"),
        ('apps = ["shop"]', 'apps = ["shop", "x"]', "/gateway.toml:20: caller web: there is no app x"),
        ("ab" * 32, "ab", "/gateway.toml:19: tokens: expected a string matching"),
        (
            "[server]",
            '[server]\nhost = "0.0.0.0"\ntrusted-proxies = ["x"]',
            "/gateway.toml:4: 'x' is not an address",
        ),
        ("[server]", "[server", "/gateway.toml:2: "),
        ("[server]", "colour = 1\n[server]", "/gateway.toml:2: unknown key 'colour' in the file"),
        ('"ABC123DEFG"', '"abc"', "/gateway.toml:10: key-id: expected a string matching"),
        ("key-id =", 'rate = "fast"\nkey-id =', "/gateway.toml:10: a rate looks like 5000/s"),
        ("key-id =", 'url = "http://x"\nkey-id =', "/gateway.toml:10: url must look like https://"),
        ("[app.fcm]", '[app.fcm]\nrate = "1/year"', "/gateway.toml:15: a rate looks like"),
        (
            "[app.fcm]",
            '[[app.apns]]\ncertificate = "c"\ntopics = ["com.example.shop"]\n[app.fcm]',
            "/gateway.toml:16: com.example.shop in production already belongs to another key",
        ),
        ("[server]", 'source = "x"\n[server]', "/gateway.toml:2: unknown key source"),
        (
            "[server]",
            '[server]\ncertificate = "c"',
            "/gateway.toml:2: certificate and certificate-key belong",
        ),
        (
            'key-id = "ABC123DEFG"',
            'key-id = "ABC123DEFG"\nkey-environment = "sandbox"',
            "/gateway.toml:8: the key is for sandbox, and environments are production",
        ),
        (
            "[app.fcm]",
            '[[app.apns]]\ncertificate = "c"\nurl = "https://h"\ntopics = ["x"]\nenvironments = ["sandbox", "production"]\n[app.fcm]',
            "/gateway.toml:14: url is a single server",
        ),
        ("[[caller]]", EXPO + "[[caller]]", "/gateway.toml:18: sealed tokens need keys"),
        (
            "[[caller]]",
            SEALING + EXPO.replace('packages = ["a.b"]\n', "") + "[[caller]]",
            "/gateway.toml:20: expected packages",
        ),
        (
            "[[caller]]",
            SEALING + "receipt-keys = 't'\n[[caller]]",
            "/gateway.toml:19: tokens and receipts need",
        ),
        (
            "[[caller]]",
            '[app.expo]\nurl = "https://x"\n[[caller]]',
            "/gateway.toml:17: access-token-file, url",
        ),
        (
            "[[caller]]",
            f'{SEALING}{EXPO}[[app]]\nid = "b"\n[app.fcm]\nservice-account = "x"\n{EXPO}[[caller]]',
            "/gateway.toml:27: this project already belongs to",
        ),
        (
            "[[caller]]",
            '[app.expo]\nproject-ids = ["x"]\n[[caller]]',
            "/gateway.toml:18: project-ids: expected",
        ),
        ("[[caller]]", '[app.expo]\nforward = "me"\n[[caller]]', "/gateway.toml:18: forward: invalid enum"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert complaint(tmp_path, GOOD.replace(old, new, 1)).startswith(expected)


@pytest.mark.parametrize(
    ("proxies", "versions"),
    [
        ("", ""),
        ("'10.0.0.0/8', '192.0.2.1', 'fd00::/8', '::1'", ""),
        ("'0.0.0.0/0'", "4"),
        ("'::/0'", "6"),
        ("'10.0.0.0/8', '::/0', '0.0.0.0/0'", "46"),
        ("'0.0.0.0/1', '128.0.0.0/1'", "4"),
        ("'0.0.0.0/1', '128.0.0.0/2'", ""),
    ],
)
def test_proxies_that_are_every_client_are_warned_of(tmp_path: Path, proxies: str, versions: str) -> None:
    text = GOOD.replace("[server]", f"[server]\ntrusted-proxies = [{proxies}]")
    path = written(tmp_path, text)
    assert read_config(path).warnings() == [
        f"{path}:3: trusted-proxies contains all IPv{version} addresses, so every client can choose the address that is "
        "logged and that limits are counted for; expected the addresses of your proxies"
        for version in versions
    ]


def test_two_apps_of_one_id(tmp_path: Path) -> None:
    again = GOOD + '[[app]]\nid = "shop"\n[app.fcm]\nservice-account = "x"\n'
    assert (
        complaint(tmp_path, again)
        == "/gateway.toml:22: app shop is configured twice; expected different names"
    )


def test_an_app_without_a_provider(tmp_path: Path) -> None:
    assert complaint(tmp_path, '[[app]]\nid = "a"\n') == "/gateway.toml:1: app a has neither apns nor fcm"


def test_one_token_of_two_callers(tmp_path: Path) -> None:
    again = GOOD + f'[[caller]]\nname = "other"\ntokens = ["{"ab" * 32}"]\n'
    assert complaint(tmp_path, again) == "/gateway.toml:23: this token already belongs to another caller"


def test_a_public_address_needs_a_caller(tmp_path: Path) -> None:
    public = GOOD.partition("[[caller]]")[0].replace("[server]", '[server]\nhost = "::"')
    assert complaint(tmp_path, public).startswith("/gateway.toml:3: :: is reachable from other machines")
    read_config(written(tmp_path, public.replace('"::"', '"::1"')))


def test_no_apps(tmp_path: Path) -> None:
    assert complaint(tmp_path, "app = []").startswith("/gateway.toml:1: app: expected a list of length >= 1")
    assert complaint(tmp_path, "") == "/gateway.toml:1: the file has no [[app]]"


def test_names_and_addresses() -> None:
    assert is_name("a.b-c_1")
    assert not is_name("a\n")
    assert not is_name("-a")
    assert is_loopback("localhost")
    assert is_loopback("127.0.0.2")
    assert not is_loopback("10.0.0.1")
    assert not is_loopback("example.com")


def test_a_token_has_192_bits_and_is_kept_as_its_digest() -> None:
    token = new_token()
    assert token.startswith("pcg_")
    assert len(token) == 4 + 32
    assert token != new_token()
    assert len(digest_of(token)) == 64
