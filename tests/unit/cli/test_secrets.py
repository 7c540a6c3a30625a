"""Key material in the place of any value, on the command line, in the environment or in a settings file: never repeated."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushcore.cli.main import cli, main
from pushcore.cli.run.client_options import ClientOptions
from pushcore.cli.sections import Argument, Option
from tests.support.key_material import EMAIL, FORMS, account, given_materials, leaks, materials
from tests.unit.cli.credentials import AUTHORITY


def leaf_commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command that does something, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaf_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(leaf_commands(cli))
PARAMETERS = [
    (name, str(parameter.name))
    for name, command in COMMANDS.items()
    for parameter in command.params
    if not (isinstance(parameter, click.Option) and (parameter.is_flag or parameter.name == "help"))
]
SOURCES = ("command line", "environment", "settings file")
CREDENTIALS = {"apns_key", "apns_sandbox_key", "apns_cert", "apns_cert_key", "fcm_service_account", "ca_file"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current directory, with good input for every command."""
    directory = tmp_path_factory.mktemp("place")
    (directory / "key.p8").write_text(materials()["p8"])
    (directory / "account.json").write_text(materials()["service account"])
    (directory / "ca.pem").write_bytes(AUTHORITY)
    (directory / "devices.csv").write_text("token,platform\naa,ios\n")
    (directory / "payload.json").write_text('{"title": "Hi"}')
    (directory / "password").write_text("correct horse")
    before = Path.cwd()
    os.chdir(directory)
    yield directory
    os.chdir(before)


BASE = {
    "apns_key": "key.p8",
    "key_id": "ABC123DEFG",
    "team_id": "TEAM123456",
    "topic": "com.example.app",
    "apns_url": "https://127.0.0.1:1",
    "channels_url": "https://127.0.0.1:1",
    "fcm_service_account": "account.json",
    "fcm_url": "https://127.0.0.1:1",
    "ca_file": "ca.pem",
    "proxy": "none",
    "timeout": "0.05",
    "audience": "devices.csv",
    "payload": "payload.json",
    "results": "results.csv",
    "output": "output.csv",
    "queue": "redis://127.0.0.1:1",
    "ledger": "campaign.ledger",
    "name": "autumn",
    "campaign": "autumn",
    "channel": "dHN0LXNyY2gtY2hubA==",
    "journal": "missing.db",
}
"""What every command works with, or fails with at once: nothing listens there."""
NEEDED = {"apns_cert": ("apns_key", "key_id", "team_id"), "apns_cert_key": ("apns_key", "key_id", "team_id")}
"""Options without which that one is looked at."""


def words_for(name: str, parameter: str, value: str | None) -> list[str]:
    """The arguments of a command, with one value in the place of its own; None: that one is left out."""
    values = {key: text for key, text in BASE.items() if key not in NEEDED.get(parameter, ())}
    if parameter in ("apns_cert_key", "apns_cert_password_file"):
        values = {key: text for key, text in values.items() if key not in NEEDED["apns_cert"]}
        values["apns_cert"] = "ca.pem"
    if parameter == "proxy_password_file":
        values["proxy"] = "http://me@127.0.0.1:1"
    if name == "send" and parameter != "journal":
        values.pop("journal")
    words, arguments = name.split(), []
    for each in COMMANDS[name].params:
        text = value if each.name == parameter else values.get(str(each.name))
        if isinstance(each, click.Argument):
            arguments += [text if text is not None else "missing"]
        elif text is not None and isinstance(each, click.Option) and not each.is_flag:
            words += [f"{each.opts[0]}={text}"]
    if name == "send" and parameter != "journal":
        words.append("--dry-run")
    return [*words, "--", *arguments]


def run(words: list[str], variables: dict[str, str]) -> str:
    """All that a command says, logs included, and its exit status."""
    out, logged = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(logged)
    logging.getLogger().addHandler(handler)
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            status = main(words)
    finally:
        os.environ.clear()
        os.environ.update(before)
        logging.getLogger().removeHandler(handler)
    return f"{out.getvalue()}{logged.getvalue()}exit status {status}"


def test_a_long_text_in_the_place_of_a_number_is_not_repeated(place: Path) -> None:
    text = "CkOssYewBwEQvZPiHl_23"
    said = run([*words_for("send", "", None)[:-1], f"--idle-ping={text}", "--"], {})
    assert "Invalid value for '--idle-ping': a text of 21 characters is not a valid float range" in said
    assert "'seven' is not a valid float range" in run(
        [*words_for("send", "", None)[:-1], "--idle-ping=seven", "--"], {}
    )


@pytest.mark.parametrize("words", [["demo", "--"], []])
def test_a_long_word_in_the_place_of_nothing_is_not_repeated(words: list[str], place: Path) -> None:
    assert "21 characters" in (said := run([*words, "CkOssYewBwEQvZPiHl_23"], {}))
    assert "CkOss" not in said
    assert "seven" in run([*words, "seven"], {})


def said_with(name: str, parameter: str, source: str, value: str) -> str:
    """All that a command says when one of its values, out of one source, is `value`."""
    variables = {}
    inside = None
    if source == "command line":
        inside = value
    elif source == "environment":
        variables[f"PUSHCORE_{parameter.upper()}"] = value
    else:
        Path("pushcore.toml").write_text(f"[send]\n{parameter} = {json.dumps(value)}\n", encoding="utf-8")
        variables["PUSHCORE_CONFIG"] = "pushcore.toml"
    return run(words_for(name, parameter, inside), variables)


def sources_of(name: str, parameter: str) -> tuple[str, ...]:
    """Where a value may come from: arguments have no variable, and what names the settings file is in none."""
    parameters = {str(each.name): each for each in COMMANDS[name].params}
    if isinstance(parameters[parameter], click.Argument) or name == "demo":
        return SOURCES[:1]
    if "config" not in parameters or parameter in ("config", "profile"):
        return SOURCES[:2]
    return SOURCES


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_key_material_in_the_place_of_any_value_is_not_repeated(place: Path, name: str) -> None:
    for command, parameter in PARAMETERS:
        if command != name:
            continue
        material = materials()["rsa" if parameter == "apns_key" else "p8"]  # of no use there
        for source in sources_of(name, parameter):
            said = said_with(name, parameter, source, material)
            assert leaks(material, said) is None, said
            assert "exit status 2" in said, said
            if source == "environment" and parameter != "config" and parameter not in CREDENTIALS:
                assert f"PUSHCORE_{parameter.upper()}" in said, said
        coded = FORMS["base64"](material)
        said = said_with(name, parameter, "command line", coded)
        assert leaks(coded, said) is None, said
        assert "exit status 2" in said, said
    assert not [file for file in place.rglob("*") if "BEGIN" in file.name]


@given(data=st.data(), material=given_materials())
def test_key_material_in_any_form_is_not_repeated(place: Path, data: st.DataObject, material: str) -> None:
    name, parameter = data.draw(st.sampled_from(PARAMETERS))
    source = data.draw(st.sampled_from(sources_of(name, parameter)))
    if source == "environment" and "\0" in material:
        return
    said = said_with(name, parameter, source, material)
    assert leaks(material, said) is None, said


@pytest.mark.parametrize(
    "words",
    [
        ["send", "--apns-key", *materials()["p8"].split()],
        ["send", *materials()["rsa"].split()],
        ["send", f"--{materials()['rsa']}"],
        [materials()["p8"]],
        ["send", f"--apns-kee={materials()['p8']}"],
        ["send", f"--config={materials()['p8']}", "--profile=x"],
        ["send", "--config=pushcore.toml", f"--profile={materials()['p8']}"],
    ],
)
def test_key_material_in_a_wrong_place_is_not_repeated(place: Path, words: list[str]) -> None:
    """A variable without quotation marks in a shell is many words."""
    (place / "pushcore.toml").write_text("[send]\n")
    said = run(words, {})
    assert "exit status 2" in said
    assert leaks(" ".join(words), said) is None, said


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("source", SOURCES)
def test_credentials_may_be_the_content(place: Path, form: str, source: str) -> None:
    """As it comes out of a variable or a secret store: nothing but the content is there."""
    values = {
        "apns_key": materials()["p8"],
        "fcm_service_account": materials()["service account"],
        "ca_file": AUTHORITY.decode(),
    }
    for parameter, text in values.items():
        said = said_with("send", parameter, source, FORMS[form](text))
        assert "1 row in " in said, said
        assert said.endswith("exit status 0")


def test_a_certificate_may_be_the_content(place: Path) -> None:
    pair = materials()["certificate with key"]
    certificate, key = pair.partition("-----BEGIN PRIVATE")[0], materials()["sec1"]
    words = words_for("send", "apns_cert", pair)
    assert "exit status 0" in run(words, {})
    words = words_for("send", "apns_cert", certificate)
    assert "exit status 0" in run([*words[:1], f"--apns-cert-key={key}", *words[1:]], {})
    said = run(words, {})
    assert (
        "--apns-cert holds a certificate and no private key; pass the file with the key as --apns-cert-key"
        in said
    )
    assert "exit status 2" in said


@pytest.mark.parametrize(
    ("parameter", "kind", "words"),
    [
        ("apns_key", "rsa", "--apns-key holds a key of another kind (RSA)"),
        ("apns_key", "encrypted", "--apns-key is encrypted"),
        ("apns_key", "service account", "--apns-key is JSON and not PEM"),
        ("fcm_service_account", "p8", "--fcm-service-account is a private key in PEM and not JSON"),
        ("ca_file", "p8", "ca_file holds no certificate"),
        (
            "payload",
            "service account",
            "Invalid value for '--payload': it is JSON, expected the path of a file",
        ),
        (
            "audience",
            "p8",
            "Invalid value for '--audience': it is a private key in PEM, expected the path of a file",
        ),
        ("key_id", "p8", "Invalid value for '--key-id': it is a private key in PEM, expected another value"),
    ],
)
def test_content_that_cannot_be_used_is_named(place: Path, parameter: str, kind: str, words: str) -> None:
    said = said_with("send", parameter, "environment", materials()[kind])
    assert words in said
    assert "exit status 2" in said
    if parameter != "ca_file":
        assert f"PUSHCORE_{parameter.upper()}" in said


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("parameter", ["proxy_password_file", "apns_cert_password_file"])
def test_a_password_in_the_place_of_its_file_is_not_repeated(
    place: Path, parameter: str, source: str
) -> None:
    """It has no shape to be known by."""
    said = said_with("send", parameter, source, "correct horse")
    option = parameter.replace("_", "-")
    assert f"the file of --{option} cannot be read (No such file or directory)" in said
    assert "correct" not in said


def test_options_do_not_show_their_values() -> None:
    given_values = {
        "apns_key": materials()["p8"],
        "proxy": "http://me:s3cret@proxy.example",
        "topic": "com.example",
    }
    options = ClientOptions.of({**given_values})
    assert repr(options) == "<ClientOptions apns_key, topic, proxy>"
    assert options.files == ()


def test_every_parameter_refuses_key_material() -> None:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            assert isinstance(parameter, Option | Argument), f"{name} {parameter.name}"
            content = isinstance(parameter, Option) and parameter.content
            assert content == (parameter.name in CREDENTIALS), f"{name} {parameter.name}"


def test_the_commands_are_seen() -> None:
    """Otherwise the tests above could not fail."""
    assert {"send", "resume", "worker", "check", "demo", "channels broadcast", "campaign create"} <= {
        *COMMANDS
    }
    assert ("send", "apns_key") in PARAMETERS
    assert EMAIL in str(account())
