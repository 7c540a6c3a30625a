"""`pushcore channels`: makes, lists, shows and deletes the broadcast channels of an app, and sends to one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click
import orjson

from ...apns.channels import Channel, Channels
from ...apns.client import ApnsClient
from ...audience.problems import BadInput, printable, read_small
from ...errors import PushRejected
from ...models.apns import ApnsPriority, Broadcast
from ...payloads.devices import APNS
from ...results import Result, Verdict
from ..options import apns_options
from ..profiles import settings_options
from ..run.client_options import ClientOptions
from ..sections import Function, argument, command, option, section
from ..statuses import BAD_INPUT, INCOMPLETE, OK, STOPPED, exit_statuses

T = TypeVar("T")

MAX_PAYLOAD: Final = 64 * 1024
"""Bytes of a payload file, at most. APNs accepts 5120 bytes; it rejects larger ones itself."""

_OPTIONS: Final = """
Options can also be environment variables, PUSHCORE_APNS_KEY for --apns-key and so on, or be in a file, as for
`pushcore send`. With --environment auto, the environment is production.

\f
"""

_EXAMPLE: Final = """
\b
  pushcore channels {} --config pushcore.toml
"""

_channels_url = section("APNs")(
    "--channels-url", metavar="URL", help="Server for channels; required with --apns-url."
)
_json = option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")


@click.group(short_help="Broadcast channels of an app.")
def channels() -> None:
    """Broadcast channels: one push to a channel updates a Live Activity on all devices that follow it (iOS 18).

    \b
      pushcore channels create --apns-key AuthKey_ABC123DEFG.p8 \\
          --key-id ABC123DEFG --team-id TEAM123456 --topic com.example.app
      pushcore channels broadcast CHANNEL payload.json ...

    A channel belongs to one app and one environment. An app may have 10 000 channels in each environment.
    """


def _channel_command(
    name: str, help: str, asks: bool = True, **settings: Any
) -> Callable[[Function], click.Command]:
    """A command of the group, with the options for credentials. `asks`: it sends requests to the server for channels."""

    def decorate(function: Function) -> click.Command:
        if asks:
            function = _channels_url(function)
        text = f"{help}{_OPTIONS}{exit_statuses(f'channels {name}')}"
        made = command(name=name, help=text, **settings)(apns_options(settings_options(function)))
        channels.add_command(made)
        return made

    return decorate


@_channel_command(
    name="create",
    short_help="Create a channel.",
    help="""Create a channel, and print its id.

\b
  pushcore channels create --apns-key AuthKey_ABC123DEFG.p8 \\
      --key-id ABC123DEFG --team-id TEAM123456 --topic com.example.app

With --store, APNs stores the channel's newest message for offline devices, for 8 hours at most. Without it, more messages may
be sent to the channel. This cannot be changed later.
""",
)
@option("--store", is_flag=True, help="Store the newest message.")
@_json
def create(store: bool, as_json: bool, channels_url: str | None, **options: Any) -> int:
    """Runs the command; the exit status."""
    return _run(
        options,
        channels_url,
        lambda api: api.create(stores=store),
        lambda channel: _show(channel, as_json, channel.id),
    )


@_channel_command(
    name="list",
    short_help="List the channels of an app.",
    help=f"Print the ids of all channels of the app.\n{_EXAMPLE.format('list')}",
)
@_json
def list_all(as_json: bool, channels_url: str | None, **options: Any) -> int:
    """Runs the command; the exit status."""

    def show(ids: list[str]) -> None:
        if as_json:
            _echo_json({"channels": ids})
        for channel_id in () if as_json else ids:
            click.echo(printable(channel_id))

    return _run(options, channels_url, lambda api: api.list(), show)


@_channel_command(
    name="show",
    short_help="Show a channel.",
    help=f"Print the properties of a channel.\n{_EXAMPLE.format('show CHANNEL')}",
)
@argument("channel", metavar="CHANNEL")
@_json
def show(channel: str, as_json: bool, channels_url: str | None, **options: Any) -> int:
    """Runs the command; the exit status."""

    def write(channel: Channel) -> None:
        _show(channel, as_json, "stores its newest message" if channel.stores else "stores no message")

    return _run(options, channels_url, lambda api: api.read(channel), write)


@_channel_command(
    name="delete",
    short_help="Delete a channel.",
    help=f"Delete a channel permanently. Stored messages may still be delivered.\n{_EXAMPLE.format('delete CHANNEL')}",
)
@argument("channel", metavar="CHANNEL")
def delete(channel: str, channels_url: str | None, **options: Any) -> int:
    """Runs the command; the exit status."""
    return _run(options, channels_url, lambda api: api.delete(channel), lambda _: None)


@_channel_command(
    asks=False,
    name="broadcast",
    short_help="Send to all devices that follow a channel.",
    help="""Send one push to all devices that follow a channel, and print the result.

\b
  pushcore channels broadcast CHANNEL goal.json --config pushcore.toml

PAYLOAD is a file with a payload for APNs, with the event "update" or "end", in 5120 bytes:

\b
  {"aps": {"event": "update", "timestamp": 1700000000,
    "content-state": {...}}}

""",
)
@argument("channel", metavar="CHANNEL")
@argument("payload", metavar="PAYLOAD")
@option(
    "--priority",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="10: at once; 5 or 1: may be delayed to save power.",
)
@option(
    "--expiration",
    type=int,
    default=0,
    show_default=True,
    metavar="S",
    help="UNIX seconds until which the channel stores this message, if it stores messages.",
)
@_json
def broadcast(
    channel: str,
    payload: str,
    priority: ApnsPriority,
    expiration: int,
    as_json: bool,
    **options: Any,
) -> int:
    """Runs the command; the exit status."""
    content = read_small(payload, "a JSON object", MAX_PAYLOAD)
    push = Broadcast(channel, content, priority=priority, expiration=expiration)
    client = _client(options)

    async def send() -> Result:
        async with client:
            return await client.broadcast(push)

    result = asyncio.run(send())
    if not result.ok:
        return _complain(result)
    if as_json:
        _echo_json({"id": result.id})
    else:
        click.echo(result.id)
    return OK


def _run(
    options: dict[str, Any],
    url: str | None,
    ask: Callable[[Channels], Awaitable[T]],
    show: Callable[[T], None],
) -> int:
    if url is None and options.get("apns_url") is not None:
        raise BadInput("--channels-url is missing; --apns-url needs it")
    client = _client(options)
    api = Channels(client, url=url)

    async def run() -> T:
        async with client:
            return await ask(api)

    try:
        show(asyncio.run(run()))
    except PushRejected as error:
        return _complain(error.result)
    return OK


def _client(options: dict[str, Any]) -> ApnsClient:
    sender = ClientOptions.of(options)
    if sender.apns_key is None and sender.apns_cert is None:
        raise BadInput("expected either --apns-key FILE or --apns-cert FILE")
    client = sender.clients()[APNS]
    assert isinstance(client, ApnsClient)
    if sender.topic is None:
        raise BadInput("--topic is missing; expected the bundle id of the app")
    return client


def _complain(result: Result) -> int:
    """Print why the request failed; the exit status."""
    advice = f"; {result.row.advice}" if result.row.name else ""
    click.echo(f"pushcore: {printable(f'{result}{advice}', 600)}", err=True)
    if result.verdict is Verdict.MISCONFIGURED:
        return STOPPED
    return INCOMPLETE if result.attempts else BAD_INPUT


def _show(channel: Channel, as_json: bool, text: str) -> None:
    if as_json:
        _echo_json({"id": channel.id, "stores": channel.stores})
    else:
        click.echo(printable(text))


def _echo_json(value: object) -> None:
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
