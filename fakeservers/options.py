"""The options of `python -m fakeservers`: one table per service, and `all` takes both."""

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
_SIGNALS = "SIGTERM or SIGINT ends it."
_HASH = r"[0-9a-f]{32,64}(?![A-Za-z0-9+=])"
_PATH = re.compile(rf"(?!.*(?!{_HASH})[A-Za-z0-9+=]{{33}})(?:[\w ./\\:~@+=,-]|[^\x00-\x7f]){{0,250}}")
"""What a path looks like; a key in PEM, JSON or an encoding of either does not."""


_LONG = re.compile(r"""'(?:[^'\\]|\\.){21,}'|"(?:[^"\\]|\\.){21,}"|\S{33,}""")
"""What may be a secret in a message: a long quotation, or a long word."""
_UNKNOWN = "unrecognized arguments: "


class _Parser(argparse.ArgumentParser):
    """A parser whose errors do not repeat a secret, such as a certificate that was given in place of its file name."""

    def error(self, message: str) -> NoReturn:
        start, unknown, rest = message.partition(_UNKNOWN)
        if unknown:
            words = [word.partition("=")[0] if re.match("--[a-z]", word) else "…" for word in rest.split()]
            message = f"{start}{unknown}{' '.join(dict.fromkeys(words))}"
        super().error(_LONG.sub(lambda match: f"({len(match[0])} characters)", message))


def _path(text: str) -> str:
    """A path. What looks like a key is refused here, where its value is not repeated, unless a file has that name."""
    if _PATH.fullmatch(text) is None and not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{len(text)} characters that do not look like a path")
    return text


def parser() -> argparse.ArgumentParser:
    """`options.services` names what to start: `apns`, `fcm` or both."""
    top = _Parser(prog="python -m fakeservers", description="Fake push services to test against.")
    services = top.add_subparsers(metavar="SERVICE", required=True)

    def add(name: str, summary: str, description: str) -> Callable[..., object]:
        command = services.add_parser(
            name,
            help=summary,
            description=f"{description} {_SIGNALS}",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,  # --topic of the one would be --topic-rate of the other
        )
        return command.add_argument

    apns = add(
        "apns",
        "Apple's push service",
        "A fake APNs. When it is ready it prints `listening on https://HOST:PORT` and, where channels are managed, "
        "`channels on https://HOST:PORT`; DIR/apns.json then holds all that a client needs.",
    )
    apns("--port", type=_port, default=0, dest="apns_port", help="0 takes a free port")
    _common(apns, "where ca.pem, the .p8 and apns.json go; credentials there are kept")
    _apns(apns)
    fcm = add(
        "fcm",
        "Google's push service with its token endpoint",
        "A fake FCM with OAuth. When it is ready it prints one line, `listening on https://HOST:PORT`; "
        "DIR/fcm.json then holds all that a client needs.",
    )
    fcm("--port", type=_port, default=0, dest="fcm_port", help="0 takes a free port")
    _common(fcm, "where ca.pem, service-account.json and fcm.json go; credentials there are kept")
    _fcm(fcm)
    both = add(
        "all",
        "both of them",
        "A fake APNs and a fake FCM. Each prints its line, `apns listening on https://HOST:PORT` and "
        "`fcm listening on …`, and then there is a line `ready`; DIR/apns.json and DIR/fcm.json hold what a client needs.",
    )
    both("--apns-port", type=_port, default=0, help="0 takes a free port")
    both("--fcm-port", type=_port, default=0, help="0 takes a free port")
    _common(both, "where all files go; credentials there are kept")
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
    add("--host", default="127.0.0.1", help="address to listen on")
    add(
        "--profile",
        choices=PROFILES,
        default="strict",
        help="strict checks every rule of the provider's, bare says 200",
    )
    add(
        "--delay-ms",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="milliseconds between a request and its answer",
    )
    add(
        "--faults",
        type=_path,
        metavar="PLAN",
        help=f"what goes wrong: a file (TOML or JSON), or one of {', '.join(PRESETS)}; see docs/reference/fakeservers-faults.md",
    )
    add("--seed", type=_whole_number, metavar="N", help="of the faults' chances, instead of the plan's own")
    add(
        "--faults-scale",
        type=_scale,
        default=1.0,
        metavar="X",
        help="what all times of the faults are multiplied by",
    )
    add(
        "--impersonate",
        type=impersonated,
        metavar="NAMES",
        help="make the certificate valid for the providers' hosts too: apns, fcm, all, or hosts, with commas between",
    )
    add(
        "--proxy-port",
        type=_port,
        metavar="N",
        help="run an HTTP proxy here whose CONNECT leads to the fakes, whatever host it names; 0 takes a free port; "
        "implies --impersonate for the services that run",
    )
    add(
        "--max-connections",
        type=_whole_number,
        default=ServerLimits().max_connections,
        metavar="N",
        help="open at a time, per service",
    )
    add(
        "--control-port",
        type=_port,
        metavar="N",
        help="serve the control port and the live page here, 0 takes a free port; by default there is none",
    )
    add("--control-host", default="127.0.0.1", metavar="HOST", help="address of the control port")
    add(
        "--control-token-file",
        type=_path,
        metavar="FILE",
        help="holds what requests of the control port must prove to know; needed when other machines reach it",
    )
    add(
        "--keep",
        type=_kept,
        default=1000,
        metavar="N",
        help="requests that the control port can show, per service and process",
    )
    add(
        "--processes",
        type=_processes,
        default=1,
        metavar="N",
        help=f"serve with so many processes, {MAX_PROCESSES} at most",
    )


def _apns(add: Callable[..., object]) -> None:
    add(
        "--channels-port",
        type=_port,
        default=0,
        metavar="N",
        help="where broadcast channels are managed; 0 takes a free port",
    )
    add(
        "--environment",
        choices=ENVIRONMENTS,
        help="refuse keys and certificates of the other one, as the registry file may say; sandbox answers apns-unique-id",
    )
    add(
        "--token-max-age",
        type=_seconds,
        default=3600.0,
        metavar="S",
        help="seconds until a provider token is stale",
    )
    add(
        "--token-min-refresh",
        type=_seconds,
        default=1200.0,
        metavar="S",
        help="seconds that a connection must keep one",
    )
    add(
        "--registry",
        type=_path,
        metavar="FILE",
        help="JSON with keys, topics and devices, see docs/reference/fakeservers.md",
    )
    add(
        "--topic",
        action="append",
        metavar="T",
        help=f"bundle id that may be pushed to; may be repeated ({TOPIC})",
    )
    add(
        "--client-cert",
        action="append",
        type=wanted_certificate,
        metavar="NAME:TOPIC,...",
        help="write DIR/NAME.pem and NAME.p12 (passphrase fake), a client certificate for these topics; may be repeated",
    )
    add(
        "--known-only",
        action="store_true",
        help="answer BadDeviceToken for devices that the registry does not list",
    )


def _fcm(add: Callable[..., object]) -> None:
    add("--project-id", type=_project, metavar="ID", help=f"the only project that there is ({PROJECT_ID})")
    add("--server-key", default=SERVER_KEY, metavar="KEY", help="what the legacy API takes")
    add(
        "--access-token-lifetime",
        type=_whole_number,
        default=LIFETIME,
        metavar="S",
        help="seconds for which an access token is good",
    )
    add(
        "--oauth-delay-ms",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="milliseconds by which the token endpoint is slow",
    )
    add("--oauth-error", choices=OAUTH_ERRORS, help="what the token endpoint answers to everything")
    add(
        "--topic-rate",
        type=_seconds,
        default=0.0,
        metavar="N",
        help="topic changes a second; 0 for no limit, Google's is 3000",
    )
    add(
        "--session-timeout",
        type=_seconds,
        metavar="S",
        help="seconds until an idle connection is closed, 0 for never (240, bare: never)",
    )
    add(
        "--max-age",
        type=_seconds,
        metavar="S",
        help="seconds until any connection is closed, 0 for never (3600, bare: never)",
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
