"""`getExpoPushToken`: an app requests the sealed token of its device, without authorization. So it is limited, and all input is checked."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...models.tokens import APNS_LENGTH, TokenKind, recognise
from ..apps import App
from ..callers import Caller
from ..config import Environment
from ..door import read_body
from ..gateway import Gateway
from ..problems import GatewayProblem
from . import dialect
from .sealed import MAX_NATIVE, AppDevice
from .tickets import Json

NETWORK_RATE, NETWORK_BURST = 20.0, 400.0
"""Requests for tokens a second from one IPv4 address or one /64 of IPv6, and at once: many phones share an address."""
APP_RATE, APP_BURST = 2000.0, 20_000.0
"""The same for one app."""
MAX_NETWORKS: Final = 100_000
"""Networks that are remembered; the one that has been silent longest is forgotten."""
MAX_HOST: Final = 64
MAX_BODY: Final = 16_384
"""Bytes of a request."""


class TokenBucket:
    """At most `rate` per second for each key, and `burst` at once.

    Args:
        rate: a second.
        burst: at once.
        most: keys that are remembered.
        clock: seconds that never step back.
    """

    __slots__ = ("_burst", "_clock", "_credit", "_most", "_rate")

    def __init__(
        self, rate: float, burst: float, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._credit: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> float:
        """Count one for a key. Returns 0, or the seconds until the next one is allowed; then it is not counted."""
        now = self._clock()
        credit, at = self._credit.get(key, (self._burst, now))
        credit = min(credit + (now - at) * self._rate, self._burst)
        allowed = credit >= 1
        self._credit[key] = (credit - allowed, now)
        self._credit.move_to_end(key)
        if len(self._credit) > self._most:
            self._credit.popitem(last=False)
        return 0.0 if allowed else (1 - credit) / self._rate


def network_of(host: str) -> str:
    """The network that a client's address is counted for: the /64 of an IPv6 address, or the IPv4 address.

    What is not an address is cut at `MAX_HOST` characters: a proxy may have passed on any text of a client.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return host[:MAX_HOST]
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ip_network((int(address), 64), strict=False))
    return str(address)


class Registrations:
    """`getExpoPushToken`, which apps call without authorization: it is limited, and all input is checked.

    Args:
        clock: seconds that never step back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._networks = TokenBucket(NETWORK_RATE, NETWORK_BURST, MAX_NETWORKS, clock)
        self._apps = TokenBucket(APP_RATE, APP_BURST, MAX_NETWORKS, clock)

    async def get_token(self, gateway: Gateway, caller: Caller, request: Request) -> Response:
        """`POST /--/api/v2/push/getExpoPushToken`: the sealed token of a device; it is the same each time."""
        host = request.client.host if request.client is not None else ""
        self._count(self._networks, network_of(host), "this network")
        document = dialect.read_json(await read_body(request, MAX_BODY))
        if type(document) is not dict:
            raise dialect.invalid("the body must be an object")
        app = _app_of_project(gateway, document.get("projectId"))
        self._count(self._apps, app.id, "this app")
        sealed = gateway.sealing.tokens
        if sealed is None:
            raise dialect.invalid("this gateway does not issue tokens: it has no keys for them")
        token = sealed.seal(read_device(app, document))
        return Response(orjson.dumps({"data": {"expoPushToken": token}}), media_type="application/json")

    @staticmethod
    def _count(bucket: TokenBucket, key: str, whose: str) -> None:
        wait = bucket.take(key)
        if wait:
            raise GatewayProblem(429, "rate-exceeded", f"{whose} requests too many tokens", retry_after=wait)


def _app_of_project(gateway: Gateway, project: object) -> App:
    for app in gateway.apps.values():
        if app.section.expo is not None and project in app.section.expo.project_ids:
            return app
    raise dialect.invalid("no app of this gateway has this projectId")


def read_device(app: App, document: Json) -> AppDevice:
    """The device of a request for a token.

    Raises:
        ExpoError: its token, app id or environment is not one of this app's.
    """
    kind, token, app_id = document.get("type"), document.get("deviceToken"), document.get("appId")
    development = document.get("development", False)
    if type(development) is not bool:
        raise dialect.invalid("development must be true or false")
    if kind not in ("apns", "fcm"):
        raise dialect.invalid('type must be "apns" or "fcm"')
    if not isinstance(token, str) or not 0 < len(token) <= MAX_NATIVE:
        raise dialect.invalid(f"deviceToken must be a string of at most {MAX_NATIVE} characters")
    device = recognise({"type": kind, "data": token})
    if not device.usable or (device.kind is TokenKind.APNS and len(device.token) < APNS_LENGTH):
        raise dialect.invalid(f"deviceToken is not a token of {kind}: {device.reason or 'it is too short'}")
    if not isinstance(app_id, str):
        raise dialect.invalid("appId must be a string")
    if kind == "fcm":
        if app.fcm is None or app.section.expo is None or app_id not in app.section.expo.packages:
            raise dialect.invalid("appId is not one of the app's packages on Android")
        return AppDevice(app.id, device.kind, device.token)
    environment: Environment = "sandbox" if development else "production"
    if not any(app_id in apns.topics for apns in app.section.apns):
        raise dialect.invalid("appId is not one of the app's topics for APNs")
    try:
        app.apns(environment, app_id)
    except GatewayProblem as problem:
        raise dialect.invalid(problem.detail) from None
    return AppDevice(app.id, device.kind, device.token.lower(), app_id, environment)
