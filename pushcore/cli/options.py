"""The options that several commands share, by section. `run/client_options`, `run/sending` and `profiles` use their values."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Final, get_args

import click
from click.shell_completion import CompletionItem

from ..http2.dialer import LONGEST_PROBE, MOST_PROBES, check_idle
from ..http2.proxy import ENVIRONMENT
from ..http2.streams import KeepAlive
from ..models.apns import PUSH_TYPES, UNLIMITED, PushType
from ..models.expo import AndroidForm
from ..payloads.formats import AUTO, FORMATS
from .sections import Function, Seconds, add, section

NONE: Final = "none"
"""The value with which an option disables something."""


class PushTypeParameter(click.ParamType):  # type: ignore[type-arg]  # click before 8.2: not generic
    """A known push type, or NAME=SUFFIX for a new one."""

    name = "NAME"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The push types that begin so."""
        return [CompletionItem(name) for name in PUSH_TYPES if name.startswith(incomplete)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | PushType:
        """See `click.ParamType`."""
        if isinstance(value, PushType) or value in PUSH_TYPES:
            return value  # type: ignore[no-any-return]
        name, equals, suffix = str(value).partition("=")
        if not equals:
            self.fail(
                f"{value!r} is not one of {', '.join(PUSH_TYPES)}, nor NAME=SUFFIX for a new one", param, ctx
            )
        return PushType(name, suffix, limit=UNLIMITED)


class IdlePingParameter(Seconds):
    """A number of seconds, or "none"."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        return None if value == NONE else super().convert(value, param, ctx)


class KeepAliveParameter(click.ParamType):  # type: ignore[type-arg]
    """Three whole numbers with colons between them, or "none"."""

    name = "S:S:N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> KeepAlive | None:
        """See `click.ParamType`."""
        if value == NONE or isinstance(value, tuple):
            return None if value == NONE else value
        try:
            idle, interval, count = map(int, str(value).split(":"))
            check_idle(None, (idle, interval, count))
        except ValueError:  # a ConfigurationError is one
            self.fail(
                f"{value!r} is neither three whole numbers such as 60:15:4 (seconds and seconds up to {LONGEST_PROBE}, "
                f'probes up to {MOST_PROBES}) nor "{NONE}"',
                param,
                ctx,
            )
        return idle, interval, count


class StartTime(click.ParamType):  # type: ignore[type-arg]
    """A time in the future, in ISO 8601 with its zone."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """See `click.ParamType`."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a time; expected one such as 2026-12-24T18:00:00+01:00", param, ctx)
        if moment.utcoffset() is None:
            self.fail(f"{value} has no time zone; expected one such as {value}+01:00", param, ctx)
        if moment.timestamp() < time.time():
            self.fail(f"{value} is in the past; expected a time in the future", param, ctx)
        return moment


_apns = section("APNs")
_fcm = section("FCM")
_network = section("Network", rare=True)
_payload = section("Payload")
_sending = section("Sending")

_APNS: Final = (
    _apns(
        "--apns-key",
        metavar="FILE",
        content=True,
        help="Signing key from Apple, a .p8 file or its content.",
    ),
    _apns("--key-id", metavar="ID", help="Its key id, 10 characters."),
    _apns("--team-id", metavar="ID", help="Your team id, 10 characters."),
    _apns(
        "--apns-cert",
        rare=True,
        metavar="FILE",
        content=True,
        help="Certificate instead of a key: PEM or PKCS#12, with its private key or with --apns-cert-key.",
    ),
    _apns(
        "--apns-cert-key", rare=True, metavar="FILE", content=True, help="Private key of a PEM certificate."
    ),
    _apns(
        "--apns-cert-password-file",
        rare=True,
        metavar="FILE",
        help="File with the passphrase of the private key.",
    ),
    _apns("--topic", metavar="BUNDLE", help="Bundle id of the app; suffixes of push types are added."),
    _apns(
        "--environment",
        type=click.Choice(["production", "sandbox", "auto"]),
        metavar="NAME",
        help='production (default), sandbox or auto. auto decides for each row, see "Test devices" in '
        "docs/guides/sending.md.",
    ),
    _apns("--apns-url", rare=True, metavar="URL", help="Another server, such as https://127.0.0.1:2197."),
    _apns(
        "--apns-sandbox-url",
        rare=True,
        metavar="URL",
        help="Another server for the sandbox of --environment auto.",
    ),
    _apns(
        "--apns-sandbox-key",
        rare=True,
        metavar="FILE",
        content=True,
        help="Key for the sandbox of --environment auto, if --apns-key is for production only.",
    ),
    _apns("--sandbox-key-id", rare=True, metavar="ID", help="Its key id."),
    _apns(
        "--idle-ping",
        rare=True,
        type=IdlePingParameter(),
        default=3600.0,
        show_default=True,
        metavar="S",
        help='Seconds of silence after which an idle connection to APNs is pinged; "none" disables it.',
    ),
)
_FCM: Final = (
    _fcm(
        "--fcm-service-account",
        metavar="FILE",
        content=True,
        help="Service account key from Google, a JSON file or its content. Other credentials need the extra "
        "pushcore[google-auth].",
    ),
    _fcm(
        "--fcm-project", rare=True, metavar="ID", help="Project to send for; default the account's project."
    ),
    _fcm("--fcm-url", rare=True, metavar="URL", help="Another server, such as https://127.0.0.1:2198."),
    _fcm(
        "--fcm-confirm",
        rare=True,
        type=click.Choice(["validate_only"]),
        help="Confirm suspect tokens with a message that delivers nothing, 100 a second.",
    ),
)
_NETWORK: Final = (
    _network(
        "--ca-file",
        metavar="FILE",
        content=True,
        help="PEM file with the only CAs to trust; default the system's.",
    ),
    _network(
        "--proxy",
        metavar="URL",
        default=ENVIRONMENT,
        show_default=True,
        help='HTTP proxy for every connection, http://HOST:PORT or https://HOST:PORT; "environment" takes it from '
        'HTTPS_PROXY and NO_PROXY, "none" disables it.',
    ),
    _network(
        "--proxy-password-file",
        metavar="FILE",
        help="File with the password for the user in --proxy http://NAME@HOST:PORT.",
    ),
    _network(
        "--timeout",
        type=Seconds(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="S",
        help="Seconds in which a push in flight must have a response.",
    ),
    _network(
        "--keepalive",
        type=KeepAliveParameter(),
        default="60:15:4",
        show_default=True,
        metavar="S:S:N",
        help="TCP keepalive: seconds of silence before the first probe, seconds between probes, and the number of unanswered "
        'probes after which the connection is closed; "none" disables it.',
    ),
    _network(
        "--http2",
        type=click.Choice(["fast", "reference"]),
        default="fast",
        show_default=True,
        help="The built-in HTTP/2, or python-hyper/h2.",
    ),
)

_PUSHES: Final = (
    _payload("--payload", metavar="FILE", help="The payload, a JSON object, for both providers."),
    _payload("--apns-payload", rare=True, metavar="FILE", help="Payload for APNs only."),
    _payload("--fcm-payload", rare=True, metavar="FILE", help="Payload for FCM only."),
    _payload(
        "--payload-format",
        rare=True,
        type=click.Choice(FORMATS),
        default=AUTO,
        show_default=True,
        help="Format of the payload files.",
    ),
    _payload(
        "--push-type",
        rare=True,
        type=PushTypeParameter(),
        metavar="NAME",
        help=f"For APNs: {', '.join(PUSH_TYPES)}; by default the one that suits the payload. NAME=SUFFIX for a new one, with "
        "the suffix of its topic.",
    ),
    _payload(
        "--priority",
        rare=True,
        type=int,
        metavar="N",
        help="For APNs: 1, 5 or 10; by default the one that suits the push type.",
    ),
    _payload(
        "--expiration",
        rare=True,
        type=int,
        metavar="S",
        help="UNIX seconds until which APNs may store a push; 0: do not store.",
    ),
    _payload(
        "--collapse-id",
        rare=True,
        metavar="ID",
        help="For APNs: pushes with the same id replace each other, 64 bytes.",
    ),
    _payload(
        "--android",
        rare=True,
        type=click.Choice(get_args(AndroidForm)),
        default="notification",
        show_default=True,
        help="Form of a message in Expo's format for Android: a notification with data, or data alone.",
    ),
    _payload(
        "--experience-id",
        rare=True,
        metavar="ID",
        help="With Expo's format, for old versions of Expo Go only.",
    ),
    _payload("--scope-key", rare=True, metavar="KEY", help="The scope key, for the same versions."),
)

_PACE: Final = (
    _sending(
        "--rate",
        metavar="RATE",
        help="Rate limit for each provider: 5000/s, 600000/min or none. Default: FCM's quota of 600000/min after a "
        "ramp-up of a minute, none for APNs.",
    ),
    _sending(
        "--retry",
        rare=True,
        type=click.Choice(["none", "report", "resend"]),
        default="report",
        show_default=True,
        help="Temporary rejections are retried according to the provider's rules, except with none. Requests without a "
        "response are reported as UNKNOWN (report), or sent again, perhaps twice (resend).",
    ),
    _sending(
        "--max-age",
        rare=True,
        type=Seconds(min=0, min_open=True),
        metavar="S",
        help="Seconds after which a push is no longer retried; default 3600.",
    ),
    _sending(
        "--window",
        rare=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Limit of pushes between audience and results; default twice the capacity of the connections, 16384 at most.",
    ),
    _sending(
        "--start-at",
        rare=True,
        type=StartTime(),
        metavar="TIME",
        help="Prepare connections and first requests, and start sending at this time: 2026-12-24T18:00:00+01:00.",
    ),
    _sending(
        "--max-connections",
        rare=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Limit of connections to each provider; default 8 to APNs and 10 to FCM.",
    ),
    _sending(
        "--metrics-port",
        rare=True,
        type=click.IntRange(0, 65_535),
        metavar="N",
        help="Serve Prometheus at http://127.0.0.1:N/metrics during the run; 0 is any free port. Needs the extra "
        "pushcore[prometheus].",
    ),
)


_results = section("Audience and results")
results_raw_option = _results(
    "--results-raw",
    rare=True,
    is_flag=True,
    help="Results for programs: texts are not escaped for spreadsheets.",
)
"""An option of the commands that write results as CSV."""
report_options = (
    results_raw_option,
    _results("--quiet", rare=True, is_flag=True, help="No progress and no summary."),
    _results(
        "--json",
        rare=True,
        is_flag=True,
        help="The summary as one JSON object on the standard output; see docs/operations/operators.md.",
    ),
)
"""The options of `send` and `resume` for what they write and print."""


def credential_options(function: Function) -> Function:
    """Add the options for credentials, servers and network, for `ClientOptions.of`."""
    return add(function, (*_APNS, *_FCM, *_NETWORK))


def apns_options(function: Function) -> Function:
    """Add those of `credential_options` that concern APNs."""
    return add(function, (*_APNS, *_NETWORK))


def push_options(function: Function) -> Function:
    """Add the options for the payload, for `ClientOptions.of`."""
    return add(function, _PUSHES)


def sending_options(function: Function) -> Function:
    """Add the options for rate, retries and connections, for `SendingOptions.of`."""
    return add(function, _PACE)
