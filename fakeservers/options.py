"""The options of `python -m fakeservers`: a table for each service; `all` takes both."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable
from typing import NoReturn

from fakeservers.apns.registry import ENVIRONMENTS
from fakeservers.apns.server import PROFILES, TOPIC
from fakeservers.control.processes import MAX_PROCESSES
from fakeservers.faults import PRESETS
from fakeservers.fcm.oauth import LIFETIME
from fakeservers.fcm.service_account import PROJECT_ID, SERVER_KEY
from fakeservers.handouts import wanted_certificate
from fakeservers.impersonation import impersonated
from fakeservers.serving.types import ServerLimits

OAUTH_ERRORS = ("invalid_grant", "invalid_scope", "invalid_request", "unavailable")
MAX_KEEP = 1_000_000
_SIGNALS = "SIGTERM, SIGINT or SIGHUP ends it. docs/reference/fakeservers.md describes all of it."
_HASH = r"[0-9a-f]{32,64}(?![A-Za-z0-9+=])"
_PATH = re.compile(
    rf"(?!.*(?!{_HASH})[A-Za-z0-9+=]{{33}})(?!.*:.*@|.*://|.*pcg_|.*ya29\.)(?:[\w ./\\:~@+=,-]|[^\x00-\x7f]){{0,250}}"
)
"""What a path looks like; a key in PEM, JSON or an encoding of either does not, and neither does an address with a password or a token."""


_LONG = re.compile(r"""'(?:[^'\\]|\\.){21,}'|"(?:[^"\\]|\\.){21,}"|\S{33,}""")
"""Parts of a message that may be secrets: a long quotation, or a long word."""
_UNKNOWN = "unrecognized arguments: "


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat a secret, such as a certificate that was given in place of its file name."""

    def error(self, message: str) -> NoReturn:
        start, unknown, rest = message.partition(_UNKNOWN)
        if unknown:
            words = [word.partition("=")[0] if re.match("--[a-z]", word) else "…" for word in rest.split()]
            message = f"{start}{unknown}{' '.join(dict.fromkeys(words))}"
        super().error(_LONG.sub(lambda match: f"({len(match[0])} characters)", message))


class _Defaults(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of an option, if it says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return (
            super()._get_help_string(action) if action.default not in (None, 0, SERVER_KEY) else action.help
        )


def _path(text: str) -> str:
    """A path. A value that looks like a key is an error here, without its text, unless a file has that name."""
    if _PATH.fullmatch(text) is None and not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{len(text)} characters that do not look like a path")
    return text


def _host(text: str) -> str:
    """A host name or an address."""
    try:
        text.encode("idna")
    except UnicodeError:
        raise argparse.ArgumentTypeError(f"{len(text)} characters that are not a host") from None
    return text


def parser() -> argparse.ArgumentParser:
    """The parser. `options.services` has what to start: `apns`, `fcm` or both."""
    top = _Parser(
        prog="python -m fakeservers",
        description="Fake push services to test against. For example: `python -m fakeservers apns --port 2197 --certs certs`.",
    )
    services = top.add_subparsers(metavar="SERVICE", required=True)

    def add(name: str, summary: str, description: str) -> Callable[..., object]:
        command = services.add_parser(
            name,
            help=summary,
            description=f"{description} {_SIGNALS}",
            formatter_class=_Defaults,
            allow_abbrev=False,  # --topic of APNs would be --topic-rate of FCM
        )
        return command.add_argument

    apns = add(
        "apns",
        "Apple's push service",
        "A fake APNs. When it is ready, it prints `listening on https://HOST:PORT`, and `channels on https://HOST:PORT` "
        "for the management of channels. DIR/apns.json has everything that a client needs. For example: "
        "`python -m fakeservers apns --port 2197 --certs certs --faults goaway-storm`.",
    )
    apns(
        "--port",
        type=_port,
        default=0,
        dest="apns_port",
        metavar="N",
        help="port to listen on; 0, the default, takes a free one",
    )
    _common(apns, "directory for ca.pem, the .p8 and apns.json; credentials that are there are used again")
    _apns(apns)
    fcm = add(
        "fcm",
        "Google's push service with its token endpoint",
        "A fake FCM with its token endpoint. When it is ready, it prints `listening on https://HOST:PORT`. "
        "DIR/fcm.json has everything that a client needs. For example: "
        "`python -m fakeservers fcm --port 2198 --certs certs`.",
    )
    fcm(
        "--port",
        type=_port,
        default=0,
        dest="fcm_port",
        metavar="N",
        help="port to listen on; 0, the default, takes a free one",
    )
    _common(
        fcm,
        "directory for ca.pem, service-account.json and fcm.json; credentials that are there are used again",
    )
    _fcm(fcm)
    both = add(
        "all",
        "both of them",
        "A fake APNs and a fake FCM. They print `apns listening on https://HOST:PORT` and `fcm listening on …`, then "
        "`ready`. DIR/apns.json and DIR/fcm.json have everything that a client needs. For example: "
        "`python -m fakeservers all --certs certs --control-port 8025`.",
    )
    both(
        "--apns-port",
        type=_port,
        default=0,
        metavar="N",
        help="port to listen on; 0, the default, takes a free one",
    )
    both(
        "--fcm-port",
        type=_port,
        default=0,
        metavar="N",
        help="port to listen on; 0, the default, takes a free one",
    )
    _common(both, "directory for all files; credentials that are there are used again")
    _apns(both)
    _fcm(both)
    for name, started in (("apns", ("apns",)), ("fcm", ("fcm",)), ("all", ("apns", "fcm"))):
        services.choices[name].set_defaults(services=started)
    return top


def check_ports(options: argparse.Namespace) -> None:
    """Raises `ValueError` when a port is given to two listeners; with several processes both would listen on it."""
    names = ("apns_port", "channels_port", "fcm_port", "proxy_port")
    places = [(options.host, getattr(options, name, None)) for name in names]
    places.append((options.control_host, options.control_port))
    for place in places:
        if place[1] and places.count(place) > 1:
            raise ValueError(f"port {place[1]} of {place[0]} is given twice; expected different ports")


def _common(add: Callable[..., object], directory: str) -> None:
    add("--certs", required=True, type=_path, metavar="DIR", help=directory)
    add("--host", type=_host, default="127.0.0.1", help="address to listen on")
    add(
        "--profile",
        choices=PROFILES,
        default="strict",
        help="strict enforces the provider's rules, bare responds to everything with 200",
    )
    add(
        "--delay-ms",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="milliseconds between a request and its response; 0 by default",
    )
    add(
        "--faults",
        type=_path,
        metavar="PLAN",
        help=f"plan of errors: a file (TOML or JSON), or one of {', '.join(PRESETS)}; see docs/reference/fakeservers-faults.md",
    )
    add(
        "--seed",
        type=_whole_number,
        metavar="N",
        help="seed of the plan's random choices, instead of the plan's own",
    )
    add(
        "--faults-scale",
        type=_scale,
        default=1.0,
        metavar="X",
        help="factor for all times of the plan",
    )
    add(
        "--impersonate",
        type=impersonated,
        metavar="NAMES",
        help="make the certificate valid for the providers' hosts, too: apns, fcm, all, or host names, separated by commas",
    )
    add(
        "--proxy-port",
        type=_port,
        metavar="N",
        help="run an HTTP proxy on this port; every CONNECT through it reaches the fakes; 0 takes a free port; "
        "implies --impersonate for the services that run",
    )
    add(
        "--max-connections",
        type=_whole_number,
        default=ServerLimits().max_connections,
        metavar="N",
        help="limit of open connections, per service",
    )
    add(
        "--control-port",
        type=_port,
        metavar="N",
        help="port of the control API and the live page; 0 takes a free port; without this option there is none",
    )
    add("--control-host", type=_host, default="127.0.0.1", metavar="HOST", help="address of the control port")
    add(
        "--control-token-file",
        type=_path,
        metavar="FILE",
        help="file with the secret that requests to the control port must send; required if other machines can reach the port",
    )
    add(
        "--keep",
        type=_kept,
        default=1000,
        metavar="N",
        help="received requests to keep for the control port, per service and process",
    )
    add(
        "--processes",
        type=_processes,
        default=1,
        metavar="N",
        help=f"number of processes, at most {MAX_PROCESSES}",
    )
    add(
        "--stop-at-eof",
        action="store_true",
        help="end when the standard input ends; a pipe there ends with the process that holds its other end, also after kill -9",
    )


def _apns(add: Callable[..., object]) -> None:
    add(
        "--channels-port",
        type=_port,
        default=0,
        metavar="N",
        help="port for the management of channels; 0, the default, takes a free one",
    )
    add(
        "--environment",
        choices=ENVIRONMENTS,
        help="reject keys and certificates of the other environment; must agree with the registry; sandbox sends apns-unique-id",
    )
    add(
        "--token-max-age",
        type=_seconds,
        default=3600.0,
        metavar="S",
        help="seconds until a provider token has expired",
    )
    add(
        "--token-min-refresh",
        type=_seconds,
        default=1200.0,
        metavar="S",
        help="seconds that a connection must use a provider token before it may send a new one",
    )
    add(
        "--registry",
        type=_path,
        metavar="FILE",
        help="JSON file with keys, topics and devices",
    )
    add(
        "--topic",
        action="append",
        metavar="T",
        help=f"allowed topic (bundle id); may be repeated (default: {TOPIC})",
    )
    add(
        "--client-cert",
        action="append",
        type=wanted_certificate,
        metavar="NAME:TOPIC,...",
        help="write a client certificate for these topics to DIR/NAME.pem and NAME.p12 (passphrase: fake); may be repeated",
    )
    add(
        "--known-only",
        action="store_true",
        help="respond with BadDeviceToken for devices that are not in the registry",
    )


def _fcm(add: Callable[..., object]) -> None:
    add("--project-id", type=_project, metavar="ID", help=f"the only project (default: {PROJECT_ID})")
    add(
        "--server-key", default=SERVER_KEY, metavar="KEY", help="the key of the legacy API; it is in fcm.json"
    )
    add(
        "--access-token-lifetime",
        type=_whole_number,
        default=LIFETIME,
        metavar="S",
        help="seconds until an access token expires",
    )
    add(
        "--oauth-delay-ms",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="milliseconds that the token endpoint waits before a response; 0 by default",
    )
    add("--oauth-error", choices=OAUTH_ERRORS, help="the error in every response of the token endpoint")
    add(
        "--topic-rate",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="limit of topic changes per second; 0 is no limit, Google's is 3000",
    )
    add(
        "--session-timeout",
        type=_seconds,
        metavar="S",
        help="seconds until an idle connection is closed; 0 is never (default: 240, bare: never)",
    )
    add(
        "--max-age",
        type=_seconds,
        metavar="S",
        help="seconds until any connection is closed; 0 is never (default: 3600, bare: never)",
    )


def _whole_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of zero or more")
    return int(text)


def _scale(text: str) -> float:
    value = _seconds(text)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0 and 1000 at most")
    return value


def _kept(text: str) -> int:
    number = _whole_number(text)
    if number > MAX_KEEP:
        raise argparse.ArgumentTypeError(f"{number} is more than {MAX_KEEP}")
    return number


def _processes(text: str) -> int:
    number = _whole_number(text)
    if not 1 <= number <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"{number} is not from 1 to {MAX_PROCESSES}")
    return number


def _port(text: str) -> int:
    port = _whole_number(text)
    if port > 65_535:  # uvloop would take it for another one
        raise argparse.ArgumentTypeError(f"there is no port {port}; expected 0 to 65535")
    return port


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not zero or more")
    return value


def _project(text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no project id: 6 to 30 of a-z, 0-9 and -, a letter in front"
        )
    return text
