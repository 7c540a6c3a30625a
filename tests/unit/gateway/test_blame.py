"""A mistake in a file or a value of gateway.toml is one sentence with the line that it stands in, before anything listens."""

from __future__ import annotations

import json
import os
import re
import socket
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
        (APP + '[fleet]\nredis = "rediss://127.0.0.1:1/0?ssl_ca_certs=/no/file.pem"\n', 9),
        (APP + '[fleet]\nredis = "valkeys://127.0.0.1:1/0?ssl_keyfile=/"\n', 9),
        (APP + '[fleet]\nredis = "redis://127.0.0.1:1/0?ssl_certfile=key.p8"\n', 9),
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


CERTIFICATE = (
    '[[app]]\nid = "a"\n[[app.apns]]\ntopics = ["com.example.app"]\ncertificate = "bad"\n'
    'certificate-password-file = "bad"\ncertificate-key = "bad"\nca-file = "bad"\n'
)
FILES = [
    (APP.replace("key.p8", "FILE"), 4),
    *((CERTIFICATE.replace(f'{key} = "bad"', f'{key} = "FILE"'), line)
      for line, key in enumerate(("certificate", "certificate-password-file", "certificate-key", "ca-file"), 5)),
    (APP + '[app.fcm]\nservice-account = "FILE"\n', 9),
    (APP + '[app.fcm]\nservice-account = "account.json"\nca-file = "FILE"\n', 10),
    (APP + HOOK.replace('"secret"', '"FILE"'), 10),
    (APP + HOOK + 'ca-file = "FILE"\n', 11),
    (APP + '[app.expo]\nforward = "expo"\naccess-token-file = "FILE"\n', 10),
    (APP + '[app.expo]\nforward = "expo"\nca-file = "FILE"\n', 10),
    (APP + '[sealing]\ntoken-keys = "FILE"\n', 9),
    (APP + '[sealing]\nreceipt-keys = "FILE"\n', 9),
    (APP + '[server]\ncertificate = "FILE"\ncertificate-key = "secret"\n', 9),
    (APP + '[server]\ncertificate = "secret"\ncertificate-key = "FILE"\n', 10),
]  # fmt: skip
"""Each key that names a file, and its line."""
NO_FILES = ("pipe", "directory", "socket", "large", "/dev/zero")


def no_files(tmp_path: Path) -> socket.socket:
    """What is no small file, with the names of `NO_FILES`. The socket is to be closed."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    return listener


@pytest.mark.parametrize(("text", "line"), FILES)
def test_what_is_no_small_file_is_told_with_its_line_and_not_waited_for(
    tmp_path: Path, text: str, line: int
) -> None:
    path = written(tmp_path, text)
    with no_files(tmp_path):
        for name in NO_FILES:
            path.write_text(text.replace("FILE", name))
            with pytest.raises(BadInput) as raised:
                serving.make_server(read_config(path))
            assert str(raised.value).startswith(f"{path}:{line}: ")
            file = name if name.startswith("/") else f"{tmp_path}/{name}"
            assert re.search(
                rf"{file} (cannot be read \(.+\)|has more than \d+ bytes); expected", str(raised.value)
            )


def test_a_reload_with_what_is_no_small_file_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, APP)
    config = read_config(path)

    async def work() -> None:
        gateway = Gateway(config)
        await gateway.open()
        apps = gateway.apps
        for text, line in FILES[:-2]:  # [server] is not reloaded
            for name in NO_FILES:
                path.write_text(text.replace("FILE", name))
                with pytest.raises(BadInput, match=rf"gateway\.toml:{line}: "):
                    await gateway.reload(read_config(path))
                assert gateway.apps is apps
                assert gateway.config is config
        await gateway.close()

    with no_files(tmp_path):
        run(work())


def test_the_configuration_may_be_a_pipe_once(tmp_path: Path) -> None:
    written(tmp_path, "")
    reading, writing = os.pipe()
    os.write(writing, APP.replace("key.p8", f"{tmp_path}/key.p8").encode())
    os.close(writing)
    config = read_config(f"/dev/fd/{reading}")
    assert config.app[0].id == "shop"
    serving.make_server(config)
    with pytest.raises(BadInput, match=r"it is not a regular file"):
        read_config(f"/dev/fd/{reading}", again=True)
    os.close(reading)


@pytest.mark.parametrize("name", NO_FILES)
def test_a_configuration_that_is_no_small_file(name: str, tmp_path: Path) -> None:
    with no_files(tmp_path), pytest.raises(BadInput, match=r"; expected a TOML file$") as raised:
        read_config(tmp_path / name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("port", ["0", "70000", "65536", "00"])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        (APP + 'url = "https://127.0.0.1:PORT"\n', 8),
        (APP + '[app.fcm]\nservice-account = "account.json"\nurl = "https://127.0.0.1:PORT"\n', 10),
        (APP + '[app.expo]\nforward = "expo"\nurl = "https://127.0.0.1:PORT/"\n', 10),
        (APP + HOOK.replace("example.com", "example.com:PORT"), 9),
        (APP + '[fleet]\nredis = "redis://127.0.0.1:PORT"\n', 9),
    ],
)
def test_a_port_that_no_server_has(tmp_path: Path, text: str, line: int, port: str) -> None:
    path = written(tmp_path, text.replace("PORT", port))
    with pytest.raises(BadInput, match=rf"gateway\.toml:{line}: .*(?i:port)") as raised:
        serving.make_server(read_config(path))
    if "url = " in text and "webhook" not in text:
        assert str(raised.value).endswith(f"url has port {int(port)}; expected one from 1 to 65535")


CERTIFIED = '[[app]]\nid = "a"\n[[app.apns]]\ntopics = ["a.b"]\ncertificate = "bad"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(
            (APP + f'url = "https://{host}"\n', "8: url must look like https://")
            for host in ("a b", "a\\nb", "h\\t", "h\\u0000", "a..b", ".", "a" * 64 + ".com", "\u00e9.example")
        ),
        *(
            (APP + HOOK.replace("example.com", host), "9: a webhook's url ")
            for host in ("a..b", "x" * 64 + ".com", "a\\nb", ".")
        ),
        *(
            (APP + f'[fleet]\nredis = "redis://{host}"\n', "9: redis is not the URL of one server")
            for host in ("h h", "h\\nx", "h,i", "h:1,redis://i:2", "h:70000", "\u00e9")
        ),
        (APP + '[fleet]\nredis = "redis://h?protocol=9"\n', "9: redis is no URL of a Redis server"),
        (APP.replace('"com.example.app"', '"com.example.app", "no id"'), "7: a topic is a bundle id"),
        (APP.replace("com.example.app", "com.\U0001f4a5"), "7: a topic is a bundle id"),
        (APP + 'certificate-key = "bad"\n', "3: certificate-key can only be used with certificate"),
        (
            APP + 'certificate-password-file = "bad"\n',
            "3: certificate-password-file can only be used with certificate",
        ),
        (CERTIFIED + 'key-id = "ABC123DEFG"\n', "3: key-id can only be used with key"),
        (CERTIFIED + 'team-id = "TEAM123456"\n', "3: team-id can only be used with key"),
        (CERTIFIED + 'key-environment = "production"\n', "3: key-environment can only be used with key"),
        (APP + CALLER + "rate = 1e-300\n", "11: rate: expected"),
    ],
)
def test_a_value_that_cannot_work_is_told_before_it_is_used(tmp_path: Path, text: str, expected: str) -> None:
    path = written(tmp_path, "")
    path.write_text(text, "utf-8")
    with pytest.raises((BadInput, ConfigurationError)) as raised:
        serving.make_server(read_config(path))
    assert str(raised.value).startswith(f"{path}:{expected}")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".".join("a" * 5000) + " = 1", "nested too deeply"),
        ("a = " + "9" * 5000, "has a number of thousands of digits"),
        (APP + HOOK.replace('"secret"', '"a\\u0000b"'), r"a\\x00b cannot be read"),
    ],
)
def test_what_the_parser_stumbles_over(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(BadInput, match=expected) as raised:
        serving.make_server(read_config(written(tmp_path, text)))
    assert str(raised.value).isprintable()


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_text("\ufeff" + APP, "utf-8")
    assert read_config(path).app[0].id == "shop"
