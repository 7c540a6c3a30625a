"""Every exception that pushcore raises or reports, in one tree:

PushcoreError
├── ConfigurationError       a key, certificate, URL or option that cannot work (also a ValueError)
├── ClosedError              a client or engine was used after it was closed (also a RuntimeError)
├── PushRejected             raised by Result.raise_for_verdict(); carries the result
└── TransportError           why a push has no answer; `unprocessed` says whether that is certain
    ├── ConnectError         no connection could be made: refused, unreachable, closed at once
    │   ├── CertificateError the server's certificate was not accepted, or ours was not
    │   └── AlpnError        the server does not speak HTTP/2 (no ALPN "h2")
    ├── ConnectionLost       the connection ended without a GOAWAY for this stream
    ├── ProtocolError        the peer broke RFC 9113; `code` is what we told it in GOAWAY
    ├── GoAway               the peer refused further streams; `code`, `debug`, `reason`
    ├── StreamReset          the peer reset this stream; `code`
    ├── HeaderListTooLarge   the request's header list is larger than the peer accepts; nothing was sent
    ├── ResponseTooLarge     the answer's body is larger than we accept
    └── ResponseTimeout      no answer within the timeout (also a TimeoutError)

A push that was refused by the provider is a `Result`, never an exception; a `TransportError` stands in
`Result.detail`. Messages never contain secrets: no provider token, no key, no passphrase.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .results import Result


class PushcoreError(Exception):
    """The root of the tree."""


class ConfigurationError(PushcoreError, ValueError):
    """Something given at construction cannot work; the message names it and what was expected."""


class ClosedError(PushcoreError, RuntimeError):
    """A client or an engine was used before it was opened or after it was closed."""


class PushRejected(PushcoreError):
    """`Result.raise_for_verdict()` was called on a push that was not accepted."""

    def __init__(self, result: Result) -> None:
        super().__init__(str(result))
        self.result = result


class TransportError(PushcoreError):
    """Why a push was not answered.

    `unprocessed` is true when the peer has surely not acted on the request (RFC 9113, sections 6.8 and 8.7),
    so that sending it again cannot double it.
    """

    unprocessed = False


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent."""

    unprocessed = True


class CertificateError(ConnectError):
    """TLS ended because a certificate was not accepted, the server's by us or ours by the server."""


class AlpnError(ConnectError):
    """The server did not choose "h2" in ALPN (RFC 9113, section 3.2)."""


class ConnectionLost(TransportError):
    """The connection ended; what was written and unanswered may or may not have been processed."""


class ProtocolError(TransportError):
    """The peer broke HTTP/2; `code` is the error code of RFC 9113, section 7, that we closed with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class GoAway(TransportError):
    """The peer sent GOAWAY. `reason` is the provider's own word out of the debug data, if there was one."""

    def __init__(self, code: int, debug: bytes, *, unprocessed: bool, reason: str | None = None) -> None:
        text = f"the server is going away (error code {code}"
        super().__init__(f"{text}, {reason})" if reason else f"{text})")
        self.code = code
        self.debug = debug
        self.reason = reason
        self.unprocessed = unprocessed


class StreamReset(TransportError):
    """The peer reset the stream. REFUSED_STREAM (0x7) alone says that nothing was processed."""

    def __init__(self, code: int, *, unprocessed: bool = False) -> None:
        super().__init__(f"the server reset the stream (error code {code})")
        self.code = code
        self.unprocessed = unprocessed


class HeaderListTooLarge(TransportError):
    """The request's header list is larger than the peer's SETTINGS_MAX_HEADER_LIST_SIZE; it was not sent."""


class ResponseTooLarge(TransportError):
    """The answer's body is larger than we accept; the stream was reset."""


class ResponseTimeout(TransportError, TimeoutError):
    """The timeout passed. `unprocessed` is true when the push was never written."""

    def __init__(self, message: str, *, unprocessed: bool = False) -> None:
        super().__init__(message)
        self.unprocessed = unprocessed
