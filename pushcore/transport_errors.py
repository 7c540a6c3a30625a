"""The root of pushcore's exceptions, and why a push got no response. A leaf: `results` and `errors` both build on it.

Import these from `pushcore.errors`, which has the whole tree.
"""

from __future__ import annotations


class PushcoreError(Exception):
    """The root of pushcore's exceptions.

    What to do: catch a class of the tree below it; this one catches all of them.
    """


class TransportError(PushcoreError):
    """The reason why a push got no response.

    `unprocessed` is true if the peer has certainly not processed the request (RFC 9113, sections 6.8 and 8.7), so that
    it can be retried without a repeat. `permanent`: a retry cannot help until the cause is fixed.

    What to do: nothing for a single push, because an engine retries it if no device can get it twice. If it repeats, look at the network
    and at proxies between this machine and the provider.
    """

    unprocessed = False
    permanent = False


class ConnectError(TransportError):
    """No connection could be made, so nothing was sent.

    What to do: check the URL, DNS, the firewall and the proxy; the message has the address and the system's error. pushcore tries again
    by itself.
    """

    unprocessed = True


class CertificateError(ConnectError):
    """TLS ended because a certificate was not accepted: the server's by the client, or the client's by the server.

    What to do: for a server's certificate, check the URL and whether a proxy intercepts TLS; pass your own CA with `ca_file` only for your
    own servers. For a client's certificate, renew it, and check its environment.
    """

    permanent = True


class AlpnError(ConnectError):
    """The server did not choose "h2" in ALPN (RFC 9113, section 3.2).

    What to do: check the URL and its port; there is another server, or a proxy that speaks HTTP/1.1 only.
    """

    permanent = True


class ProxyError(ConnectError):
    """The HTTP proxy did not connect to the server (RFC 9110, section 9.3.6).

    `status`: of its response to CONNECT, such as 407 or 502; None without a response that could be read.
    `permanent`: a retry cannot help until the name, the password or the proxy's rules are fixed.

    What to do: correct the proxy's address, name or password, or let it connect to the provider's hosts.
    """

    def __init__(self, message: str, *, status: int | None = None, permanent: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.permanent = permanent


class AccessTokenError(TransportError):
    """There was no access token to send with, so nothing was sent.

    `permanent`: a retry cannot help until the account, its key or the clock is fixed. `reason`: OAuth's
    error code, such as "invalid_grant". `retry_after`: seconds that the token's issuer asks to wait, if it did.

    What to do: for `invalid_grant`, check the service account's key and this machine's clock. Otherwise check that the token's server can
    be reached.
    """

    unprocessed = True

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        reason: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.reason = reason
        self.retry_after = retry_after


class ConnectionLost(TransportError):
    """The connection ended. Requests that were written and got no response may have been processed.

    What to do: nothing for single cases. If it repeats, look for firewalls and NATs that close idle connections. `RetryPolicy(unknown="resend")`
    sends such pushes again.
    """


class ProtocolError(TransportError):
    """The peer violated HTTP/2; `code` is the error code (RFC 9113, section 7) of our GOAWAY.

    What to do: check that the URL is the provider's, and that no proxy changes the connection. If it is the provider's own server, report it.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class GoAway(TransportError):
    """The peer sent GOAWAY. `reason` is the provider's reason in the debug data, if there is one.

    What to do: nothing; a new connection is opened. If there is a reason, look it up.
    """

    def __init__(self, code: int, debug: bytes, *, unprocessed: bool, reason: str | None = None) -> None:
        text = f"the server is going away (error code {code}"
        super().__init__(f"{text}, {reason})" if reason else f"{text})")
        self.code = code
        self.debug = debug
        self.reason = reason
        self.unprocessed = unprocessed


class StreamReset(TransportError):
    """The peer reset the stream. Only REFUSED_STREAM (0x7) says that nothing was processed.

    What to do: nothing for single pushes; with REFUSED_STREAM they are retried. If it repeats, the server or a proxy rejects the requests.
    """

    def __init__(self, code: int, *, unprocessed: bool = False) -> None:
        super().__init__(f"the server reset the stream (error code {code})")
        self.code = code
        self.unprocessed = unprocessed


class HeaderListTooLarge(TransportError):
    """The request's header list is larger than the peer's SETTINGS_MAX_HEADER_LIST_SIZE; it was not sent.

    What to do: shorten topic, collapse id and token. With correct values this happens only with servers that are not the provider's.
    """


class ResponseTooLarge(TransportError):
    """The response's body is larger than we accept; the stream was reset.

    What to do: check the URL and the proxy; a provider's responses are small.
    """


class ResponseTimeout(TransportError, TimeoutError):
    """The timeout passed. `unprocessed` is true if the push was never written.

    What to do: if it repeats, send less at a time (rate, window), open more connections, or use a longer `timeout`.
    """

    def __init__(self, message: str, *, unprocessed: bool = False) -> None:
        super().__init__(message)
        self.unprocessed = unprocessed
