"""Ready-made plans. Their times suit a run of minutes; `scale` makes them suit a test of seconds."""

from __future__ import annotations

from fakeservers.faults.actions import (
    Action,
    Answer,
    ChangeStreamLimit,
    Connect,
    Cut,
    Delay,
    Goaway,
    HalfOpen,
    Reset,
    Slow,
    Stall,
    Truncate,
)
from fakeservers.faults.fault import Fault
from fakeservers.faults.when import When

PRESETS: dict[str, str] = {
    "calm": "Nothing goes wrong.",
    "realistic": "Delays of real responses, a few dead tokens, fewer errors, now and then a GOAWAY.",
    "apple-throttles": "Bad tokens and errors; every tenth error on a connection lowers its stream limit for a while.",
    "goaway-storm": "Connections end by GOAWAY after 150 to 200 requests: announced, at once, or with unprocessed streams.",
    "flaky-network": "Connections that are reset, silent, slow, half-open, or cut in the middle of a frame.",
    "google-quota": "For a third of each minute the project exceeds its quota, with Retry-After and without.",
    "brownout": "Half of the time the servers are slow, fail or do not respond; for a moment they refuse connections.",
    "proxy-pages": "Some responses are another server's: HTML pages with 404, and empty ones with 403.",
    "key-revoked": "After half a minute Apple's key is revoked, and Google's tokens and account are rejected.",
}

_APNS, _FCM, _OAUTH = ("apns",), ("fcm",), ("oauth",)
_SHUTDOWN, _MAX_AGE = '{"reason":"Shutdown"}', "max_age"
_APNS_DELAYS = Delay(percentiles=((0, 0.004), (50, 0.02), (90, 0.06), (99, 0.25), (100, 1.0)))
_FCM_DELAYS = Delay(percentiles=((0, 0.02), (50, 0.06), (90, 0.15), (99, 0.6), (100, 3.0)))


def _fault(fault_id: str, name: str, when: When, action: Action) -> Fault:
    return Fault(id=fault_id, name=name, when=when, what=action)


_REALISTIC = (
    _fault("apns-delay", "APNs responds with a delay", When(provider=_APNS), _APNS_DELAYS),
    _fault("fcm-delay", "FCM responds with a delay", When(provider=_FCM), _FCM_DELAYS),
    _fault(
        "oauth-delay",
        "The token endpoint responds with a delay",
        When(provider=_OAUTH),
        Delay(between=(0.1, 0.4)),
    ),
    _fault(
        "apns-gone",
        "Dead device tokens",
        When(provider=_APNS, share=0.01),
        Answer(reason="Unregistered"),
    ),
    _fault(
        "fcm-gone", "Dead registration tokens", When(provider=_FCM, share=0.01), Answer(reason="UNREGISTERED")
    ),
    _fault(
        "apns-trouble",
        "APNs has trouble",
        When(provider=_APNS, share=0.0005),
        Answer(reason="InternalServerError"),
    ),
    _fault(
        "fcm-trouble",
        "FCM is unavailable",
        When(provider=_FCM, share=0.001),
        Answer(reason="UnavailableWithoutRetryAfter"),
    ),
    _fault(
        "goodbye",
        "Old connections end",
        When(every=50_000, per_connection=True),
        Goaway(debug=_MAX_AGE, notice=0.5),
    ),
)

_APPLE_THROTTLES = (
    _fault("delay", "APNs responds with a delay", When(provider=_APNS), _APNS_DELAYS),
    _fault(
        "bad-tokens",
        "Tokens of another environment",
        When(provider=_APNS, share=0.02),
        Answer(reason="BadDeviceToken"),
    ),
    _fault(
        "too-many",
        "Too many requests to one device",
        When(provider=_APNS, share=0.01),
        Answer(reason="TooManyRequests"),
    ),
    _fault(
        "limit",
        "Errors lower the stream limit",
        When(provider=_APNS, errors=10),
        ChangeStreamLimit(limits=(500, 100, 10, 1), restore=10.0),
    ),
    _fault(
        "disconnect",
        "Too many errors end the connection",
        When(provider=_APNS, errors=200),
        Goaway(code="ENHANCE_YOUR_CALM", debug='{"reason":"TooManyRequests"}', grace=5.0),
    ),
)

_GOAWAY_STORM = (
    _fault(
        "by-notice",
        "GOAWAY, announced",
        When(every=150, per_connection=True, connection_every=2),
        Goaway(debug=_SHUTDOWN, notice=0.2, grace=10.0),
    ),
    _fault(
        "at-once",
        "GOAWAY, all requests so far get responses",
        When(every=200, per_connection=True),
        Goaway(debug=_SHUTDOWN),
    ),
    _fault(
        "unprocessed",
        "GOAWAY, this request is not processed",
        When(share=0.003),
        Goaway(last="before", debug=_SHUTDOWN),
    ),
    _fault("refused", "Streams are refused", When(share=0.002), Reset()),
)

_FLAKY_NETWORK = (
    _fault("no-way", "New connections are reset", When(share=0.1), Connect(how="reset")),
    _fault("silence", "New connections get no byte", When(share=0.05), Connect(how="silent")),
    _fault("late", "TLS begins with a delay", When(share=0.1), Connect(how="delay", seconds=0.5)),
    _fault("trickle", "Few bytes at a time", When(share=0.1), Slow(bytes=700, seconds=0.05)),
    _fault("short", "Connections end in the middle of a frame", When(share=0.1), Truncate(bytes=5000)),
    _fault("reset", "Connections are reset", When(share=0.0005), Cut(how="reset")),
    _fault("closed", "Connections are closed without a GOAWAY", When(share=0.0005), Cut(how="close")),
    _fault("torn", "Responses end in the middle of a frame", When(share=0.0005), Cut(how="frame")),
    _fault("half-open", "Connections are half-open", When(share=0.0003), HalfOpen()),
    _fault("delay", "All bytes are delayed", When(), Delay(between=(0.02, 0.2))),
)

_GOOGLE_QUOTA = (
    _fault("delay", "FCM responds with a delay", When(provider=_FCM), _FCM_DELAYS),
    _fault(
        "quota",
        "The quota of the minute is exceeded",
        When(provider=_FCM, after=10.0, period=60.0, lasting=20.0, share=0.8),
        Answer(reason="QUOTA_EXCEEDED", retry_after=10),
    ),
    _fault(
        "quota-silent",
        "The same without Retry-After",
        When(provider=_FCM, after=10.0, period=60.0, lasting=20.0, share=0.2),
        Answer(reason="QuotaWithoutRetryAfter"),
    ),
    _fault(
        "device",
        "Too many messages to one device",
        When(provider=_FCM, share=0.005),
        Answer(reason="DeviceRateExceeded", retry_after=20),
    ),
)


def _bad_times(provider: tuple[str, ...] = (), share: float = 1.0) -> When:
    return When(provider=provider, share=share, after=10.0, period=60.0, lasting=30.0)


_BROWNOUT = (
    _fault(
        "slow",
        "All responses are slow",
        _bad_times(),
        Delay(percentiles=((0, 0.05), (50, 0.5), (90, 2.0), (99, 5.0), (100, 8.0))),
    ),
    _fault(
        "apns-503",
        "APNs is unavailable",
        _bad_times(_APNS, 0.3),
        Answer(reason="ServiceUnavailable"),
    ),
    _fault(
        "fcm-503",
        "FCM is unavailable",
        _bad_times(_FCM, 0.25),
        Answer(reason="UNAVAILABLE", retry_after=5),
    ),
    _fault(
        "fcm-html",
        "Google's front end responds in HTML",
        _bad_times(_FCM, 0.05),
        Answer(reason="BadGateway"),
    ),
    _fault(
        "oauth-503",
        "The token endpoint is unavailable",
        _bad_times(_OAUTH, 0.5),
        Answer(reason="unavailable"),
    ),
    _fault("stall", "Some requests get no response", _bad_times(share=0.005), Stall()),
    _fault(
        "down", "Connections are refused", When(after=25.0, period=60.0, lasting=3.0), Connect(how="refuse")
    ),
)

_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
)
_PROXY_PAGES = (
    _fault(
        "page",
        "An HTML page with 404",
        When(provider=(*_APNS, *_FCM), share=0.1),
        Answer(status=404, body=_PAGE),
    ),
    _fault(
        "nothing",
        "403 without a body",
        When(provider=(*_APNS, *_FCM), share=0.1),
        Answer(status=403, body=""),
    ),
)

_KEY_REVOKED = (
    _fault(
        "apple",
        "The .p8 is revoked",
        When(provider=_APNS, after=30.0),
        Answer(reason="InvalidProviderToken"),
    ),
    _fault(
        "google",
        "Access tokens are rejected",
        When(provider=_FCM, after=30.0),
        Answer(reason="AccessTokenExpired"),
    ),
    _fault(
        "account",
        "The service account's key is deleted",
        When(provider=_OAUTH, after=30.0),
        Answer(reason="invalid_grant"),
    ),
)

FAULTS: dict[str, tuple[Fault, ...]] = {
    "calm": (),
    "realistic": _REALISTIC,
    "apple-throttles": _APPLE_THROTTLES,
    "goaway-storm": _GOAWAY_STORM,
    "flaky-network": _FLAKY_NETWORK,
    "google-quota": _GOOGLE_QUOTA,
    "brownout": _BROWNOUT,
    "proxy-pages": _PROXY_PAGES,
    "key-revoked": _KEY_REVOKED,
}
"""The faults of each preset, in order."""
