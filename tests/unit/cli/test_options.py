"""The options that several commands share are those that their values are read from."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pushcore.cli.main import cli
from pushcore.cli.options import StartTime, apns_options, credential_options, push_options, sending_options
from pushcore.cli.profiles import settings_options
from pushcore.cli.run.client_options import ClientOptions
from pushcore.cli.run.sending import SendingOptions
from pushcore.cli.sections import Function, Option, command
from pushcore.payloads.formats import FORMATS


def options_of(decorate: Any) -> dict[str, Option]:
    """By name."""

    def nothing() -> None:
        """Nothing."""

    found = click.command()(decorate(nothing))
    assert all(isinstance(each, Option) for each in found.params)
    return {str(each.name): each for each in found.params if isinstance(each, Option)}


def all_of(*decorators: Any) -> dict[str, Option]:
    return {name: each for decorate in decorators for name, each in options_of(decorate).items()}


def test_every_value_of_a_sender_and_of_a_sending_has_its_option() -> None:
    names = set(all_of(credential_options, push_options, sending_options))
    values = {each.name for kind in (ClientOptions, SendingOptions) for each in fields(kind)}
    assert names == values


def test_an_option_that_is_not_given_has_the_default_of_its_value() -> None:
    options = all_of(credential_options, push_options, sending_options)
    for kind in (ClientOptions, SendingOptions):
        for each in fields(kind):
            default = options[each.name].default
            given = (
                default if isinstance(default, str | float | int) and not isinstance(default, bool) else None
            )
            given = options[each.name].type_cast_value(click.Context(cli), given)
            assert given == each.default, each.name


def test_apns_alone_needs_no_option_of_fcm() -> None:
    of_apns, of_both = options_of(apns_options), options_of(credential_options)
    assert {name for name in of_both if name not in of_apns} == {
        "fcm_service_account",
        "fcm_project",
        "fcm_url",
        "fcm_confirm",
    }
    assert {each.section for each in of_apns.values()} == {"APNs", "Network"}


@pytest.mark.parametrize("decorate", [credential_options, push_options, sending_options])
def test_every_option_says_what_it_is_for_and_what_its_value_is(decorate: Function) -> None:
    for name, each in options_of(decorate).items():
        assert each.help, name
        assert each.help.endswith("."), name
        assert each.metavar or isinstance(each.type, click.Choice), name


def test_file_options_have_the_metavar_file() -> None:
    """Settings files take such paths as relative to themselves."""
    options = all_of(credential_options, push_options, sending_options)
    files = {name for name, each in options.items() if each.metavar == "FILE"}
    assert files == {
        *(
            "apns_key",
            "apns_sandbox_key",
            "apns_cert",
            "apns_cert_key",
            "apns_cert_password_file",
            "fcm_service_account",
        ),
        *("ca_file", "proxy_password_file", "payload", "apns_payload", "fcm_payload"),
    }
    values: dict[str, Any] = {name: name for name in files}
    assert set(ClientOptions(**values).files) == files


@pytest.mark.parametrize("name", ["send", "resume", "worker"])
def test_commands_that_send_have_all_of_them(name: str) -> None:
    wanted = set(all_of(credential_options, push_options, sending_options))
    assert wanted <= {each.name for each in cli.commands[name].params}


def test_choices_are_what_the_engine_knows() -> None:
    options = all_of(credential_options, push_options, sending_options)
    choices = {
        name: each.type.choices for name, each in options.items() if isinstance(each.type, click.Choice)
    }
    assert tuple(choices["payload_format"]) == FORMATS
    assert tuple(choices["environment"]) == ("production", "sandbox", "auto")
    assert tuple(choices["http2"]) == ("fast", "reference")
    assert tuple(choices["retry"]) == ("none", "report", "resend")


@pytest.mark.parametrize(
    ("arguments", "idle_ping", "keepalive"),
    [
        ([], 3600.0, (60, 15, 4)),
        (["--idle-ping", "600", "--keepalive", "30:5:2"], 600.0, (30, 5, 2)),
        (["--idle-ping", "none", "--keepalive", "none"], None, None),
    ],
)
@pytest.mark.parametrize("source", ["command line", "environment", "settings file"])
def test_idle_connections_can_be_configured_from_every_source(
    arguments: list[str],
    idle_ping: float | None,
    keepalive: object,
    source: str,
    tmp_path: Path,
) -> None:
    given: dict[str, Any] = {}

    @command()
    @credential_options
    @settings_options
    def show(**options: Any) -> None:
        given.update(options)

    names, values = arguments[::2], arguments[1::2]
    environment: dict[str, str] = {}
    if source == "environment":
        keys = [f"SHOW_{name.strip('-').replace('-', '_').upper()}" for name in names]
        environment, arguments = dict(zip(keys, values, strict=True)), []
    elif source == "settings file":
        lines = [f"{name.strip('-')} = {value!r}\n" for name, value in zip(names, values, strict=True)]
        (tmp_path / "settings.toml").write_text("[send]\n" + "".join(lines))
        arguments = ["--config", str(tmp_path / "settings.toml")]
    done = CliRunner().invoke(show, arguments, env=environment, auto_envvar_prefix="SHOW")
    assert done.exit_code == 0, done.output
    assert (given["idle_ping"], given["keepalive"]) == (idle_ping, keepalive)


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["--keepalive", value]
            for value in ("60", "60:15", "0:15:4", "60:15:128", "a:b:c", "60:15:4:1", "")
        ),
        *(["--idle-ping", value] for value in ("0", "-1", "nan", "never", "")),
    ],
)
def test_wrong_settings_of_idle_connections_are_named(arguments: list[str]) -> None:
    @command()
    @credential_options
    def show(**options: Any) -> None:
        raise AssertionError(options)

    done = CliRunner().invoke(show, arguments)
    assert done.exit_code == 2
    assert f"Invalid value for '{arguments[0]}'" in done.output
    if arguments[0] == "--keepalive":
        assert "such as 60:15:4" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tomorrow", "'tomorrow' is not a time; expected one such as 2026-12-24T18:00:00+01:00"),
        ("2999-01-01T00:00:00", "has no time zone; expected one such as 2999-01-01T00:00:00+01:00"),
        ("2001-01-01T00:00:00Z", "2001-01-01T00:00:00Z is in the past; expected a time in the future"),
    ],
)
def test_a_start_that_cannot_be_says_why(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter) as raised:
        StartTime().convert(text, None, None)
    assert words in raised.value.message


def test_a_start_may_be_a_date_of_toml() -> None:
    moment = datetime(2999, 1, 1, tzinfo=UTC)
    assert StartTime().convert(moment, None, None) == moment
    assert StartTime().convert("2999-01-01T00:00:00Z", None, None) == moment


def test_push_types_are_completed_in_a_shell() -> None:
    (option,) = (param for param in cli.commands["send"].params if param.name == "push_type")
    context = click.Context(cli.commands["send"])
    assert [item.value for item in option.shell_complete(context, "a")] == ["alert", "accessory"]
