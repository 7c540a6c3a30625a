"""Whatever is wrong with the input is one sentence that names the file, and exit status 2."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pushcore.cli.main import main

Arguments = dict[str, str | None]
Place = tuple[Path, Arguments]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A directory with good input, and the arguments of a `send` that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.p8").write_bytes(pem)
    (tmp_path / "devices.csv").write_text("token,name\naa,Ada\n")
    (tmp_path / "payload.json").write_text('{"aps":{"alert":"Hi {{name}}"}}')
    return tmp_path, {
        "--apns-key": str(tmp_path / "key.p8"),
        "--key-id": "ABC123DEFG",
        "--team-id": "TEAM123456",
        "--topic": "com.example.app",
        "--apns-url": "https://127.0.0.1:1",
        "--audience": str(tmp_path / "devices.csv"),
        "--payload": str(tmp_path / "payload.json"),
        "--results": str(tmp_path / "results.csv"),
    }


def complaint(capsys: pytest.CaptureFixture[str], arguments: Arguments) -> str:
    """The one sentence on the standard error."""
    words = [word for option, value in arguments.items() if value is not None for word in (option, value)]
    assert main(["send", *words]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith("pushcore: ")
    assert found.err.count("\n") == 1
    assert "Traceback" not in found.err
    return found.err


@pytest.fixture(scope="module")
def account() -> dict[str, str]:
    """A service account's file that is in order."""
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "project_id": "my-project",
        "private_key_id": "0123456789",
        "private_key": pem.decode(),
        "client_email": "pusher@my-project.iam.gserviceaccount.com",
        "token_uri": "https://127.0.0.1:1/token",
    }


@pytest.fixture
def fcm_place(place: Place, account: dict[str, str]) -> Place:
    """The same for a `send` to FCM alone."""
    directory, arguments = place
    (directory / "account.json").write_text(json.dumps(account))
    (directory / "payload.json").write_text('{"message":{"data":{"text":"Hi {{name}}"}}}')
    wanted = ("--audience", "--payload", "--results")
    return directory, {
        "--fcm-service-account": str(directory / "account.json"),
        "--fcm-url": "https://127.0.0.1:1",
        **{name: arguments[name] for name in wanted},
    }


def write(content: bytes | str) -> Callable[[Path], None]:
    def action(path: Path) -> None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return action


@pytest.mark.parametrize(
    ("option", "change", "expected"),
    [
        ("--apns-key", Path.unlink, "key.p8 cannot be read (No such file or directory); expected the .p8"),
        ("--apns-key", write("no key"), "key.p8"),
        ("--apns-key", write(b"\xff\x00"), "expected the .p8"),
        ("--payload", Path.unlink, "payload.json cannot be read"),
        ("--payload", write("[1]"), "payload.json is not a JSON object; expected a JSON object such as"),
        ("--payload", write("{"), "payload.json is not JSON"),
        ("--payload", write(b"{}" + b" " * 1_100_000), "payload.json has more than 1048576 bytes"),
        ("--payload", write('{"a":"{{nmae}}"}'), "names no column of"),
        ("--audience", Path.unlink, "devices.csv cannot be read"),
        ("--audience", write(""), "devices.csv is empty; expected a header row with a column token"),
        ("--audience", write("device\naa\n"), "devices.csv has no column token"),
    ],
)
def test_files(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    option: str,
    change: Callable[[Path], None],
    expected: str,
) -> None:
    directory, arguments = place
    path = arguments[option]
    assert path is not None
    change(Path(path))
    said = complaint(capsys, arguments)
    assert expected in said
    assert str(directory) in said
    assert not (directory / "results.csv").exists()


CERT: Arguments = {"--apns-key": None, "--key-id": None, "--team-id": None, "--apns-cert": "key.p8"}
FCM: Arguments = {"--fcm-url": "https://127.0.0.1:1"}
SMALL: list[tuple[str, Arguments]] = [
    ("--config", {}),
    ("--apns-key", {}),
    ("--apns-cert", CERT),
    ("--apns-cert-key", CERT),
    ("--apns-cert-password-file", CERT),
    ("--apns-sandbox-key", {"--environment": "auto", "--apns-url": None, "--sandbox-key-id": "ABC123DEFG"}),
    ("--fcm-service-account", FCM),
    ("--ca-file", {}),
    ("--proxy-password-file", {"--proxy": "http://me@127.0.0.1:1"}),
    ("--payload", {}),
    ("--apns-payload", {"--payload": None}),
    ("--fcm-payload", {}),
]
"""Options that name a small file, and what they need beside them."""


@pytest.mark.parametrize(("option", "others"), SMALL, ids=[option for option, _ in SMALL])
def test_what_is_no_small_file(
    place: Place,
    account: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    option: str,
    others: Arguments,
) -> None:
    directory, arguments = place
    os.mkfifo(directory / "pipe")
    with (directory / "large").open("wb") as file:
        file.truncate(1 << 30)
    if option == "--fcm-payload":
        (directory / "account.json").write_text(json.dumps(account))
        others = {"--fcm-service-account": str(directory / "account.json"), **FCM}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "socket"))
        given = {
            **arguments,
            **{
                name: value and value.replace("key.p8", arguments["--apns-key"] or "")
                for name, value in others.items()
            },
        }
        for name, expected in (
            ("pipe", "cannot be read (it is a pipe that no process writes to); expected"),
            ("socket", "cannot be read (No such device or address); expected"),
            (".", "cannot be read (Is a directory); expected"),
            ("large", "bytes"),
            ("/dev/zero", "bytes"),
        ):
            assert expected in complaint(capsys, {**given, option: str(directory / name)})
    assert not (directory / "results.csv").exists()


@pytest.mark.parametrize("option", ["--apns-key", "--payload"])
def test_a_file_may_be_a_pipe_with_content(place: Place, option: str) -> None:
    """As `<(command)` is one."""
    _, arguments = place
    path = arguments[option]
    assert path is not None
    reading, writing = os.pipe()
    os.write(writing, Path(path).read_bytes())
    os.close(writing)
    words = [
        word
        for name, value in {**arguments, option: f"/dev/fd/{reading}", "--results": None}.items()
        if value is not None
        for word in (name, value)
    ]
    assert main(["send", *words, "--dry-run"]) == 0
    os.close(reading)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"--apns-url": "https://127.0.0.1:0"}, "url has port 0; expected one from 1 to 65535"),
        ({"--apns-url": "https://127.0.0.1:70000/"}, "url has port 70000; expected one from 1 to 65535"),
        ({"--audience": None}, "Missing option '--audience'"),
        ({"--topic": None}, "--topic is missing"),
        ({"--key-id": None}, "--key-id is missing"),
        ({"--key-id": "short"}, "key_id"),
        ({"--apns-key": None}, "either --apns-key FILE or --apns-cert FILE"),
        ({"--apns-cert": "x.pem"}, "either --apns-key FILE or --apns-cert FILE"),
        ({"--environment": "sandbox"}, "exclude each other"),
        ({"--environment": "test"}, "'production', 'sandbox'"),
        ({"--apns-url": "http://127.0.0.1"}, "url must look like"),
        ({"--ca-file": "/nonexistent/ca.pem"}, "/nonexistent/ca.pem cannot be read"),
        ({"--topic": "a b"}, "topic must be a bundle id"),
        ({"--priority": "7"}, "the priority of alert is 1 or 5 or 10"),
        ({"--push-type": "background", "--priority": "10"}, "the priority of background is 5"),
        ({"--collapse-id": "x" * 65}, "collapse_id"),
        ({"--expiration": "-5"}, "expiration"),
        ({"--timeout": "0"}, "--timeout"),
        ({"--max-connections": "0"}, "--max-connections"),
        ({"--apns-cert-password-file": "x"}, "belong to --apns-cert"),
        ({"--results": "/nonexistent/results.csv"}, "/nonexistent/results.csv cannot be written"),
        ({"--nonsense": "1"}, "No such option"),
    ],
)
def test_options(place: Place, capsys: pytest.CaptureFixture[str], changes: Arguments, expected: str) -> None:
    assert expected in complaint(capsys, {**place[1], **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (None, "account.json cannot be read (No such file or directory); expected the JSON key of a service"),
        ("[]", "account.json is not a JSON object"),
        ("{", "account.json is not JSON"),
        (
            {"type": "authorized_user"},
            'account.json holds credentials of the type "authorized_user", which cannot be used by google-auth',
        ),
        (
            {"type": "authorized_user", "client_id": "1", "client_secret": "2", "refresh_token": "3"},
            "account.json contains no project; expected --fcm-project ID",
        ),
        ({"private_key": None}, 'account.json has a "private_key" that is empty'),
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nbroken\n-----END PRIVATE KEY-----"}, "account.json"),
        ({"client_email": 5}, 'account.json has a "client_email"'),
        ({"token_uri": "http://x"}, 'account.json has a "token_uri" that must be an https address'),
        ({"project_id": None}, "account.json contains no project; expected --fcm-project ID"),
        ({"project_id": "a/b"}, "project_id must be the id of a project, such as my-project-1234"),
    ],
)
def test_service_accounts(
    fcm_place: Place,
    capsys: pytest.CaptureFixture[str],
    account: dict[str, str],
    changes: dict[str, str | None] | str | None,
    expected: str,
) -> None:
    directory, arguments = fcm_place
    path = directory / "account.json"
    if changes is None:
        path.unlink()
    else:
        path.write_text(changes if isinstance(changes, str) else json.dumps({**account, **changes}))
    said = complaint(capsys, arguments)
    assert expected in said
    assert account["private_key"].split("\n")[1] not in said


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"--fcm-service-account": None},
            "--fcm-url needs --fcm-service-account FILE",
        ),
        (
            {"--fcm-service-account": None, "--fcm-url": None},
            "no provider: expected either --apns-key FILE",
        ),
        ({"--fcm-url": "http://127.0.0.1"}, "url must look like https://"),
        ({"--fcm-project": "a b"}, "project_id must be the id of a project, such as my-project-1234"),
        ({"--topic": "com.example.app"}, "--topic needs either --apns-key FILE"),
        ({"--priority": "10"}, "--priority needs"),
        ({"--payload": None}, "--payload or --fcm-payload is missing: a payload for FCM"),
        ({"--payload-format": "apns"}, "payload.json is a payload of APNs, which FCM cannot take"),
        ({"--payload-format": "json"}, "'auto', 'expo', 'apns', 'fcm'"),
        ({"--apns-payload": "x.json"}, "--apns-payload needs --apns-key or --apns-cert"),
        ({"--ca-file": "/nonexistent/ca.pem"}, "/nonexistent/ca.pem cannot be read"),
    ],
)
def test_options_of_fcm(
    fcm_place: Place, capsys: pytest.CaptureFixture[str], changes: Arguments, expected: str
) -> None:
    assert expected in complaint(capsys, {**fcm_place[1], **changes})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '{"message":{"data":{"n":5}}}',
            "payload.json: FCM allows only strings in data, but data['n']",
        ),
        ('{"message":{"token":"x"}}', "payload.json: the message has a token; expected none"),
        ('{"message":{"nonsense":1}}', "payload.json: unknown key 'nonsense' in the message"),
        (
            '{"message":{"data":{"a":"{{nmae}}"}}}',
            "payload.json: the placeholder '{{nmae}}' in data.a names no column of",
        ),
        ('{"title":"x","badge":"3"}', "payload.json: badge must be a number from 0 on, not '3'"),
        ('{"aps":{"alert":"Hi"}}', "payload.json is a payload of APNs, which FCM cannot take"),
    ],
)
def test_payloads_for_fcm(
    fcm_place: Place, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    (fcm_place[0] / "payload.json").write_text(content)
    assert expected in complaint(capsys, fcm_place[1])


def test_results_never_replace_a_service_account(
    fcm_place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, arguments = fcm_place
    said = complaint(capsys, {**arguments, "--results": str(directory / "account.json")})
    assert "expected another file for the results" in said
    assert json.loads((directory / "account.json").read_text())["type"] == "service_account"


@pytest.mark.parametrize("victim", ["--audience", "--payload", "--apns-key"])
def test_results_never_replace_an_input(
    place: Place, capsys: pytest.CaptureFixture[str], victim: str
) -> None:
    path = place[1][victim]
    assert path is not None
    before = Path(path).read_bytes()
    assert "expected another file for the results" in complaint(capsys, {**place[1], "--results": path})
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, "cert.pem cannot be read"),
        ({"cert.pem": b"junk"}, "cert.pem is neither PEM nor PKCS#12"),
        ({"cert.pem": b"junk", "password": b"\n"}, "the file of --apns-cert-password-file is empty"),
    ],
)
def test_certificates(
    place: Place, capsys: pytest.CaptureFixture[str], files: dict[str, bytes], expected: str
) -> None:
    directory, arguments = place
    for name, content in files.items():
        (directory / name).write_bytes(content)
    password = str(directory / "password") if "password" in files else None
    changes = {"--apns-key": None, "--key-id": None, "--team-id": None}
    certificate = {"--apns-cert": str(directory / "cert.pem"), "--apns-cert-password-file": password}
    assert expected in complaint(capsys, {**arguments, **changes, **certificate})


def test_names_of_files_are_escaped(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, {**place[1], "--audience": "no\x1b[31m\nsuch.csv"})
    assert "\x1b" not in said


def test_without_a_command_it_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "send" in capsys.readouterr().err
    assert main(["--version"]) == 0
    assert main(["send", "--help-all"]) == 0
    assert "Exit status:" in capsys.readouterr().out


def test_the_demo_names_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert 'pip install "pushcore[fakeservers]"' in capsys.readouterr().err
