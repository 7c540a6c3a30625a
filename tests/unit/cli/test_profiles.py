"""Where a setting comes from: command line, environment, profile, [send], default. A dry run shows what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pushcore.cli.commands import send as command
from pushcore.cli.main import main
from pushcore.cli.run.client_options import ClientOptions
from pushcore.cli.run.sending import SendingOptions

Run = Callable[..., tuple[int, ClientOptions, SendingOptions]]
BASE = """
[send]
apns-key = "keys/key.p8"
key-id = "ABC123DEFG"
team_id = "TEAM123456"
topic = "com.example.file"
payload = "payload.json"
audience = "devices.csv"
timeout = 3
rate = "100/s"
dry-run = true

[profile.slow]
rate = "1/s"
window = 7

[profile.empty]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a settings file and what it names; the working directory is another one."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    directory = tmp_path / "etc"
    (directory / "keys").mkdir(parents=True)
    (directory / "keys" / "key.p8").write_bytes(key)
    (directory / "devices.csv").write_text("token\naa\n")
    (directory / "payload.json").write_text('{"aps":{"alert":"Hi"}}')
    (directory / "pushcore.toml").write_text(BASE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return directory


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `pushcore send` in this process: its status, and what its options became."""
    taken: list[ClientOptions | SendingOptions] = []
    for kind in (ClientOptions, SendingOptions):

        def of(
            options: dict[str, object], kind: type[ClientOptions] | type[SendingOptions] = kind
        ) -> ClientOptions | SendingOptions:
            found = kind.of(options)
            taken.append(found)
            return found

        monkeypatch.setattr(command, kind.__name__, type("", (), {"of": staticmethod(of)}))

    def run(*arguments: str) -> tuple[int, ClientOptions, SendingOptions]:
        taken.clear()
        status = main(["send", *arguments])
        sender, sending = taken
        assert isinstance(sender, ClientOptions)
        assert isinstance(sending, SendingOptions)
        return status, sender, sending

    return run


def test_a_file_alone(run: Run, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, sender, sending = run("--config", str(place / "pushcore.toml"))
    assert status == 0, capsys.readouterr().err
    assert (sender.topic, sender.team_id, sender.timeout) == ("com.example.file", "TEAM123456", 3.0)
    assert sender.apns_key == str(place / "keys/key.p8")
    assert (sending.rate, sending.window) == ("100/s", None)
    assert "1 row in " in capsys.readouterr().out


def test_the_precedence_of_settings(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSHCORE_CONFIG", str(place / "pushcore.toml"))
    assert run()[2].rate == "100/s"
    assert run("--profile", "slow")[2] == SendingOptions(rate="1/s", window=7)
    assert run("--profile", "empty")[2] == SendingOptions(rate="100/s")
    monkeypatch.setenv("PUSHCORE_PROFILE", "slow")
    assert run()[2] == SendingOptions(rate="1/s", window=7)
    monkeypatch.setenv("PUSHCORE_RATE", "2/s")
    monkeypatch.setenv("PUSHCORE_TOPIC", "com.example.environment")
    status, sender, sending = run()
    assert (status, sender.topic, sending) == (
        0,
        "com.example.environment",
        SendingOptions(rate="2/s", window=7),
    )
    assert run("--rate", "3/s", "--window", "9")[2] == SendingOptions(rate="3/s", window=9)


def test_the_order_of_the_two_does_not_matter(run: Run, place: Path) -> None:
    path = str(place / "pushcore.toml")
    assert run("--profile", "slow", "--config", path)[2].window == 7
    assert run("--window", "8", "--config", path, "--profile", "slow")[2].window == 8


def test_paths_of_the_environment_are_the_working_directorys(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHCORE_CONFIG", "../etc/pushcore.toml")
    monkeypatch.setenv("PUSHCORE_AUDIENCE", "../etc/devices.csv")
    status, sender, _ = run()
    assert (status, sender.apns_key) == (0, "../etc/keys/key.p8")


@pytest.mark.parametrize("command_name", ["check", "send"])
def test_every_option_has_a_variable(command_name: str, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("PUSHCORE_APNS_KEY", "x.p8")
    monkeypatch.setenv("PUSHCORE_KEY_ID", "short")
    monkeypatch.setenv("PUSHCORE_AUDIENCE", "-")
    monkeypatch.setenv("PUSHCORE_RESULTS", "-")
    assert main([command_name]) == 2  # --team-id is missing


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\xef\xbb\xbf[sned]", "has 'sned', expected only [send] and [profile.NAME]"),
        ("[send", "pushcore.toml is not TOML (Expected ']'"),
        ("\xff", "pushcore.toml is not UTF-8; expected a TOML file"),
        ("window = " + "9" * 5000, "pushcore.toml is not TOML (Exceeds the limit"),
        ('[sned]\ntopic = "x"', "has 'sned', expected only [send] and [profile.NAME]"),
        ("send = 5", "'send' is not a table"),
        ('[send]\ntoppic = "s3cret"', "[send] has an unknown key 'toppic'"),
        ('[send]\nconfig = "s3cret"', "[send] has an unknown key 'config'"),
        ('[send]\ntopic = ["s3cret"]', "[send] topic cannot be a list; expected a text or a number"),
        ("[send]\ntopic = true", "[send] topic cannot be true or false; expected a text or a number"),
        ("[send]\nwindow = 1.5", "[send] window cannot have a decimal point; expected a whole number"),
        ("[send]\nquiet = 5", "[send] quiet cannot be a number; expected true or false"),
        ("[send]\ntopic = { a = 1 }", "[send] topic cannot be a table; expected a text or a number"),
        ('[send]\nquiet = "s3cret"', "[send] quiet cannot be a text; expected true or false"),
        ("[send]\ntopic = 2025-01-01", "[send] topic cannot be a time"),
        ('[profile]\nslow = "s3cret"', "'slow' is not a table"),
        ("[profile.quick]\n", "has no profile 'slow'; it has 'quick'"),
        ("", "has no profile 'slow'; it has 'none'"),
        ('[send]\nwindow = 0\naudience = "x"', "Invalid value for '--window'"),
    ],
)
def test_files_that_cannot_be_used(
    place: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    if content.startswith("[send]"):
        content += "\n[profile.slow]"
    (place / "pushcore.toml").write_bytes(content.encode("latin-1"))
    assert main(["send", "--config", str(place / "pushcore.toml"), "--profile", "slow"]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1
    assert "s3cret" not in said


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["send", "--config", "no.toml"]) == 2
    assert (
        "no.toml cannot be read (No such file or directory); expected a TOML file" in capsys.readouterr().err
    )
    assert main(["check", "--profile", "x"]) == 2
    assert "--profile needs --config FILE" in capsys.readouterr().err


def test_check_takes_what_is_its_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "pushcore.toml").write_text(BASE + '[profile.bad]\nkey-id = "short"')
    assert main(["check", "--config", str(place / "pushcore.toml"), "--profile", "bad"]) == 2
    assert "key_id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            '[send]\ntoppic = "x"',
            "[send] has an unknown key 'toppic'; expected options of send; did you mean topic?",
        ),
        (
            "[send]\nmax_conections = 3",
            "unknown key 'max_conections'; expected options of send; did you mean max-connections?",
        ),
        (
            '[sends]\ntopic = "x"',
            "has 'sends', expected only [send] and [profile.NAME]; did you mean send?",
        ),
        ("[profile.slwo]", "has no profile 'slow'; it has 'slwo'; did you mean slwo?"),
        ('[send]\nretry = "resnd"', "[send] retry: Invalid value for '--retry': its value is not one of"),
        ('[send]\nretry = "resnd"', "did you mean resend?"),
        (
            '[send]\nwindow = "s3cret"',
            "[send] window: Invalid value for '--window': its value is not a valid integer range",
        ),
        ("[send]\ntimeout = nan", "[send] timeout: Invalid value for '--timeout'"),
        ("[send]\ntimeout = 0", "Invalid value for '--timeout': its value is not in the range x>0\n"),
        ("[send]\ntimeout = -1", "Invalid value for '--timeout': its value is not in the range x>0\n"),
        ("[send]\nwindow = 0", "Invalid value for '--window': its value is not in the range x>=1\n"),
        (f"[send]\ntimeout = 1{'0' * 400}", "Invalid value for '--timeout': its value is too large\n"),
        ('[send]\naudience = "a\\u0000b"', "[send] audience holds a NUL character"),
        ('[send]\nrate = "fast"', "--rate is the key rate of"),
        ('[send]\npayload = "missing.json"', "missing.json cannot be read"),
    ],
)
def test_an_error_names_the_file_and_the_key_and_what_was_meant(
    place: Path, capsys: pytest.CaptureFixture[str], content: str, expected: str
) -> None:
    text = BASE.replace("[send]", content, 1) if content.startswith("[send]") else f"{content}\n"
    for key in ("rate", "timeout", "audience", "payload"):
        if f"\n{key} =" in content:
            text = text.replace(f"\n{key} = ", f"\n#{key} = ").replace(f"\n#{key} = ", f"\n{key} = ", 1)
    (place / "pushcore.toml").write_text(text)
    profile = ("--profile", "slow") if not content.startswith("[send]") else ()
    assert main(["send", "--config", str(place / "pushcore.toml"), *profile]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "pushcore.toml" in said
    assert "s3cret" not in said


def test_an_error_names_the_variable(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ["send", "--config", str(place / "pushcore.toml")]
    for variable, value, expected in (
        ("PUSHCORE_RATE", "fast", "(--rate is the variable PUSHCORE_RATE)"),
        ("PUSHCORE_WINDOW", "many", "(--window is the variable PUSHCORE_WINDOW)"),
        ("PUSHCORE_PAYLOAD", "missing.json", "(from the variable PUSHCORE_PAYLOAD)"),
        ("PUSHCORE_PAYLOAD", "x" * 300, "(from the variable PUSHCORE_PAYLOAD)"),
        ("PUSHCORE_KEY_ID", "abc", "(--key-id is the variable PUSHCORE_KEY_ID)"),
        ("PUSHCORE_TEAM_ID", "abc", "(--team-id is the variable PUSHCORE_TEAM_ID)"),
        ("PUSHCORE_TOPIC", "a b", "(--topic is the variable PUSHCORE_TOPIC)"),
        ("PUSHCORE_APNS_URL", "abc", "(--apns-url is the variable PUSHCORE_APNS_URL)"),
        ("PUSHCORE_PRIORITY", "7", "(--priority is the variable PUSHCORE_PRIORITY)"),
        ("PUSHCORE_EXPIRATION", "3600", "(--expiration is the variable PUSHCORE_EXPIRATION)"),
        ("PUSHCORE_COLLAPSE_ID", "é", "(--collapse-id is the variable PUSHCORE_COLLAPSE_ID)"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert main(config) == 2
            assert expected in capsys.readouterr().err


def test_a_variable_that_is_nearly_an_options_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUSHCORE_TIMOUT", "s3cret")
    monkeypatch.setenv("PUSHCORE_TESTS", "weekly")
    monkeypatch.setenv("PUSHCORE_QUEUE", "redis://of.another.command")
    assert main(["send", "--config", str(place / "pushcore.toml")]) == 0
    assert capsys.readouterr().err == (
        "pushcore: PUSHCORE_TIMOUT is not the variable of an option; did you mean PUSHCORE_TIMEOUT?\n"
    )
