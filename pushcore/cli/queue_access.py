"""The options for a queue's credentials."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import click
from click.core import ParameterSource

from ..audience.problems import BadInput
from ..queue.access import Access
from ..redaction import split_address
from .report.notices import say
from .run.client_options import read_password
from .sections import Function, add, section

QUEUE_HELP: Final = (
    "redis://HOST:PORT or nats://HOST:PORT, with TLS rediss:// or tls://. docs/guides/queue.md has the URLs of Sentinel and of "
    "clusters."
)
"""The help of the option --queue."""

_queue = section("Queue", rare=True)
_OPTIONS: Final = (
    _queue(
        "--queue-password-file",
        metavar="FILE",
        help="File with the queue's password, for the user in --queue.",
    ),
    _queue("--queue-sentinel-password-file", metavar="FILE", help="File with the password of the sentinels."),
    _queue(
        "--queue-ca-file", metavar="FILE", help="PEM file with the only CAs to trust for the queue's TLS."
    ),
    _queue("--queue-cert", metavar="FILE", help="PEM file with the client certificate for the queue."),
    _queue(
        "--queue-key", metavar="FILE", help="PEM file with its private key, if it is not in the same file."
    ),
)


class QueueTarget(NamedTuple):
    """The address of a queue, and the credentials for it."""

    url: str
    access: Access


def queue_access_options(function: Function) -> Function:
    """Add the options; `access_of` reads their values."""
    return add(function, _OPTIONS)


def access_of(options: dict[str, Any], url: str) -> Access:
    """The credentials, which are removed from `options`. Warns about a password that other users of the machine can read.

    Raises:
        BadInput: a file cannot be read.
    """
    passwords = {}
    for name, description in (
        ("queue_password_file", "the queue's password"),
        ("queue_sentinel_password_file", "the sentinels' password"),
    ):
        path = options.pop(name)
        if path is not None:
            try:
                passwords[name] = read_password(path, f"--{name.replace('_', '-')}", description).decode()
            except UnicodeDecodeError:
                raise BadInput(f"the file of --{name.replace('_', '-')} is not UTF-8") from None
    context = click.get_current_context(silent=True)
    if (
        context is not None
        and context.get_parameter_source("queue") is ParameterSource.COMMANDLINE
        and _has_password(url)
    ):
        say(
            "the password in --queue is visible in `ps`; use --queue-password-file or the variable PUSHCORE_QUEUE"
        )
    return Access(
        password=passwords.get("queue_password_file"),
        sentinel_password=passwords.get("queue_sentinel_password_file"),
        ca_file=options.pop("queue_ca_file"),
        cert_file=options.pop("queue_cert"),
        key_file=options.pop("queue_key"),
    )


def _has_password(url: str) -> bool:
    parts = split_address(url.split(",")[0].partition("?")[0])
    credentials = "" if parts is None else parts.netloc.rpartition("@")[0]
    return ":" in credentials or (bool(credentials) and url.startswith(("nats:", "tls:")))
