"""How commands get in to their queue: passwords out of files, and a warning where `ps` would show one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pushcore.audience.problems import BadInput
from pushcore.cli.queue_access import access_of, queue_access_options
from pushcore.cli.sections import command, section
from pushcore.queue.access import Access

WARNING = "the password in --queue is visible in `ps`"


def run(*arguments: str, **variables: str) -> tuple[Access | None, str]:
    """What the options mean to a command, and what was said."""
    found: list[Access] = []

    @command()
    @section("Queue")("--queue", required=True)
    @queue_access_options
    def one(queue: str, **options: Any) -> None:
        found.append(access_of(options, queue))
        assert not options

    done = CliRunner().invoke(
        one, arguments, env=variables, standalone_mode=False, auto_envvar_prefix="PUSHCORE"
    )
    if isinstance(done.exception, BadInput | click.UsageError):
        return None, str(done.exception)
    assert done.exception is None, done.exception
    return found[0], done.output


def test_passwords_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("secret\n")
    (tmp_path / "sentinel").write_text("other")
    access, said = run(
        *("--queue", "redis+sentinel://user@h:1/name", "--queue-password-file", str(tmp_path / "queue")),
        *("--queue-sentinel-password-file", str(tmp_path / "sentinel"), "--queue-ca-file", "ca.pem"),
    )
    assert access == Access(password="secret", sentinel_password="other", ca_file="ca.pem")
    assert said == ""


@pytest.mark.parametrize(
    "url", ["redis://:secret@h", "redis+cluster://u:secret@h:1,i:2", "nats://secret@h,nats://i"]
)
def test_a_password_on_the_command_line_is_warned_of_and_not_repeated(url: str) -> None:
    _, said = run("--queue", url)
    assert WARNING in said
    assert "secret" not in said
    assert run(PUSHCORE_QUEUE=url)[1] == ""


@pytest.mark.parametrize(
    "url", ["redis://h:1", "redis://user@h:1", "nats://h:1,nats://i:2?replicas=3", "unix:///s"]
)
def test_no_password_no_warning(url: str) -> None:
    assert run("--queue", url) == (Access(), "")


def test_a_file_that_cannot_be_read_is_named_by_its_option(tmp_path: Path) -> None:
    access, said = run("--queue", "redis://h", "--queue-password-file", str(tmp_path / "secret"))
    assert access is None
    assert "the file of --queue-password-file" in said
    assert "secret" not in said
