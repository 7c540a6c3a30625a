"""A mistake in a file or a value of gateway.toml is one sentence with the line that it stands in, before anything listens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput
from pushcore.errors import ConfigurationError
from pushcore.gateway import serving
from pushcore.gateway.config_file import read_config
from pushcore.gateway.expo.sealed import new_key
from pushcore.gateway.gateway import Gateway
from tests.support.key_material import account, materials
from tests.support.virtual import run

APNS = '[[app.apns]]\nkey = "key.p8"\nkey-id = "ABC123DEFG"\nteam-id = "TEAM123456"\ntopics = ["com.example.app"]\n'
APP = f'[[app]]\nid = "shop"\n{APNS}'
CALLER = f'[[caller]]\nname = "a"\ntokens = ["{1:064d}"]\n'
HOOK = '[[app.webhook]]\nurl = "https://example.com/results"\nsecret-file = "secret"\n'


def written(tmp_path: Path, text: str) -> Path:
    """A configuration beside files of all kinds: good ones, and "bad", which is none of them."""
    (tmp_path / "key.p8").write_text(materials()["p8"])
    (tmp_path / "account.json").write_text(json.dumps(account()))
    (tmp_path / "secret").write_text("whsec_" + "QUJD" * 8)
    (tmp_path / "sealing").write_text(new_key(lambda count: bytes(range(count))))
    (tmp_path / "bad").write_text("this is not what was expected\n")
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (APP.replace("key.p8", "bad"), 4),
        (APP.replace("key.p8", "gone"), 4),
        (APP + '[[app]]\nid = "two"\n' + APNS.replace("key.p8", "bad"), 11),
        (APP + APNS.replace("com.example.app", "com.example.other").replace("key.p8", "gone"), 9),
        (APP + 'ca-file = "bad"\n', 8),
        (APP + 'ca-file = "gone"\n', 8),
        (APP.replace("com.example.app", "not a bundle id"), 7),
        ('[[app]]\nid = "a"\n[[app.apns]]\ncertificate = "bad"\ntopics = ["com.example.app"]\n', 4),
        (
            '[[app]]\nid = "a"\n[[app.apns]]\ncertificate = "bad"\ncertificate-password-file = "gone"\n'
            'topics = ["com.example.app"]\n',
            5,
        ),
        (APP + '[app.fcm]\nservice-account = "bad"\n', 9),
        (APP + '[app.fcm]\nproject = "p"\nservice-account = "gone"\n', 10),
        (APP + '[app.fcm]\nservice-account = "account.json"\nproject = "a/../b"\n', 10),
        (APP + '[app.fcm]\nservice-account = "account.json"\nca-file = "bad"\n', 10),
        (APP + HOOK.replace("https", "http"), 9),
        (APP + HOOK.replace("https://example.com/results", "example.com"), 9),
        (APP + HOOK.replace("https://example", "https://user:password@example"), 9),
        (APP + HOOK.replace("/results", "/re sults"), 9),
        (APP + HOOK.replace("/results", "/\\r\\nx: y"), 9),
        (APP + HOOK.replace("/results", "/\u00e9"), 9),
        (APP + HOOK.replace("example.com", "127.0.0.1"), 9),
        (APP + HOOK.replace("example.com", "[::ffff:10.0.0.1]"), 9),
        (APP + '[fleet]\nredis = "redis://127.0.0.1:1/0?colour=red"\n', 9),
        (APP + HOOK.replace('"secret"', '"bad"'), 10),
        (APP + HOOK.replace('"secret"', '"gone"'), 10),
        (APP + HOOK + HOOK.replace('"secret"', '"bad"'), 13),
        (APP + HOOK + 'ca-file = "bad"\n', 11),
        (APP + '[app.expo]\nforward = "expo"\naccess-token-file = "gone"\n', 10),
        (APP + '[app.expo]\nforward = "expo"\nca-file = "bad"\n', 10),
        (APP + '[sealing]\ntoken-keys = "bad"\n', 9),
        (APP + '[sealing]\nreceipt-keys = "gone"\n', 9),
        (APP + '[server]\ncertificate = "bad"\ncertificate-key = "bad"\n', 9),
        (APP + '[server]\nport = 0\nhost = "no-such-host.invalid"\n' + CALLER, 10),
        (APP + '[server]\nhost = "192.0.2.1"\n' + CALLER, 9),
        (APP + '[server]\nhost = "' + "x" * 70 + '"\n' + CALLER, 9),
        (APP + '[server]\nhost = "a\\u0000b"\n' + CALLER, 9),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, text: str, line: int) -> None:
    path = written(tmp_path, text)
    with pytest.raises((BadInput, ConfigurationError)) as raised:
        serving.make_server(read_config(path))
    assert str(raised.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_nested_too_deeply(tmp_path: Path) -> None:
    path = written(tmp_path, "a = " + "[" * 5000 + "]" * 5000)
    with pytest.raises(BadInput, match="nested too deeply"):
        read_config(path)


def test_a_reload_tells_the_line_too(tmp_path: Path) -> None:
    path = written(tmp_path, APP)
    config = read_config(path)

    async def work() -> None:
        gateway = Gateway(config)
        await gateway.open()
        (tmp_path / "key.p8").unlink()
        with pytest.raises(BadInput, match=r"gateway\.toml:4: .*key\.p8"):
            await gateway.reload(read_config(path))
        await gateway.close()

    run(work())


def test_hosts_of_this_machine_can_be_listened_on() -> None:
    for host in ("127.0.0.1", "0.0.0.0", "localhost"):
        serving._check_host(host)
