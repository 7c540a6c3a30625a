"""HTTP proxies: a tunnel by CONNECT (RFC 9110, section 9.3.6), and TLS with the real server inside it.

    we ──TCP, or TLS for an https:// proxy──▶ proxy ──TCP──▶ server
    we ──TLS with ALPN "h2", the server's own name verified────▶ server

The proxy gets the name of the server, which is not resolved here.
"""

from __future__ import annotations

import asyncio
import base64
import http
import os
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final, TypeVar, cast
from urllib.parse import unquote

from ..arguments import check_flag, check_type, check_whole, kind
from ..errors import CertificateError, ConfigurationError, ProxyError
from ..redaction import shown_address, split_address
from .no_proxy import bypasses
from .tls import PathOrContent, client_context, name_tls_error

MAX_HEADER: Final = 16_384
"""Bytes of the header of a proxy's response, at most; usual proxies send some hundred."""
SHARE: Final = 0.8
"""The part of the time for a connection that the proxy may take; the rest is for TLS and SETTINGS of the server."""

ENVIRONMENT: Final = "environment"
"""Value of a `proxy` argument: use the environment variables."""
VARIABLES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""The first that is not empty is used; curl has the same order."""

_EXPECTED: Final = "must look like http://proxy.example:3128; a name and a password stand before the host, as NAME:PASSWORD and @"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_END_OF_HEADER: Final = re.compile(rb"\r?\n\r?\n")
_SCHEMES: Final = re.compile(rb"^proxy-authenticate:[ \t]*([A-Za-z0-9-]{1,30})", re.IGNORECASE | re.MULTILINE)
_PERMANENT: Final = frozenset({401, 403, 405, 407, 451, 501, 505})
# ^ credentials, rules, a proxy without CONNECT: a retry would get the same response (RFC 9110, section 15)
_HOST: Final = re.compile(r"[\w.-]{1,255}|[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,30})?")
_PORTS: Final = {"http": 80, "https": 443}

Inner = TypeVar("Inner", bound=asyncio.Protocol)


class Proxy:
    """One HTTP proxy.

    Args:
        host: where it listens.
        port: where it listens.
        username: for Basic authentication (RFC 7617), sent with the first request.
        password: for Basic authentication (RFC 7617), sent with the first request.
        tls: whether the connection to the proxy itself uses TLS.
        ca_file: the only certificate authorities to trust for a proxy with TLS; None: those of the system.

    Neither username nor password appears in `repr`, logs or errors.

    Raises:
        ConfigurationError: an argument is invalid.
    """

    __slots__ = ("_authorization", "_context", "host", "port")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: bool = False,
        ca_file: PathOrContent | None = None,
    ) -> None:
        valid = isinstance(host, str) and _HOST.fullmatch(host) is not None
        if not valid:
            raise ConfigurationError(
                f"host must be the name or address of a proxy, not {shown_address(host)}"
            )
        check_whole("port", port, least=1, most=65_535)
        for name, value in (("username", username), ("password", password)):
            if not isinstance(value, str | None):  # a secret: it is not shown
                raise ConfigurationError(f"{name} must be a string, not {kind(value)}")
        check_flag("tls", tls)
        check_type("ca_file", ca_file, (str, bytes, os.PathLike, type(None)), "a path, PEM, or None")
        self.host = host
        self.port = port
        self._authorization = _basic(username, password)
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = client_context(ca_file=ca_file, alpn="http/1.1")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, to be resolved."""
        return self.host, self.port

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        ca_file: PathOrContent | None = None,
    ) -> Proxy:
        """The proxy at `http://host:port` or `https://host:port`; without a scheme it is http.

        The default port is 80 or 443. Username and password may stand in the address, percent-encoded before an "@", or
        be given separately.

        Args:
            url: the address of the proxy.
            username: replaces the one in `url`.
            password: replaces the one in `url`.
            ca_file: the only certificate authorities to trust for a proxy with TLS; None: those of the system.

        Returns:
            The proxy.

        Raises:
            ConfigurationError: `url` is not such an address. The message does not repeat it, because it may contain a
                password.
        """
        wrong = ConfigurationError(f"the proxy {_EXPECTED}")
        if not isinstance(url, str) or not url.isprintable() or " " in url:
            raise wrong
        parts = split_address(url if "://" in url else f"http://{url}")
        if parts is None:
            raise wrong
        if parts.scheme not in _PORTS:
            raise ConfigurationError(f"only http and https proxies are known, not {parts.scheme[:20]!r}")
        if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise wrong
        if username is None and password is None and parts.username is not None:
            username, password = unquote(parts.username), unquote(parts.password or "")
        return cls(
            parts.hostname,
            parts.port or _PORTS[parts.scheme],
            username=username,
            password=password,
            tls=parts.scheme == "https",
            ca_file=ca_file,
        )

    @classmethod
    def from_environment(
        cls, host: str, environ: Mapping[str, str] | None = None, *, port: int = 443
    ) -> Proxy | None:
        """The proxy that environment variables configure for connections to `host`.

        It is that of HTTPS_PROXY, or of ALL_PROXY if there is none. NO_PROXY lists hosts that need no proxy: names,
        addresses or networks, separated by commas. A variable in lower case takes precedence over the same in upper case;
        an empty variable counts as absent.

        Args:
            host: the name of the server.
            environ: the variables; None: those of this process.
            port: the port of the server.

        Returns:
            The proxy, or None.

        Raises:
            ConfigurationError: a variable is set to something other than the address of a proxy.
        """
        variables = os.environ if environ is None else environ
        name = next((variable for variable in VARIABLES if variables.get(variable)), None)
        if name is None or bypasses(variables.get("no_proxy") or variables.get("NO_PROXY") or "", host, port):
            return None
        try:
            return cls.parse(variables[name])
        except ConfigurationError as error:
            raise ConfigurationError(f"{name}: {error}") from None

    async def connect(
        self,
        new_protocol: Callable[[], Inner],
        sock: socket.socket,
        host: str,
        port: int,
        context: ssl.SSLContext,
        seconds: float,
    ) -> Inner:
        """Open a TLS connection to a server through the proxy, with a protocol on it as from `create_connection`.

        Args:
            new_protocol: makes the protocol.
            sock: connected to the proxy; closed on an error.
            host: the name of the server.
            port: the port of the server.
            context: TLS for the server.
            seconds: for the whole connection. Only the proxy's part is limited here, the caller limits the rest.

        Returns:
            The connected protocol.

        Raises:
            ProxyError: the proxy rejected the request, or its response is not HTTP.
            CertificateError: the certificate of an https:// proxy was not accepted.
            OSError: TLS with the server failed; `ssl.SSLError` among them.
        """
        loop = asyncio.get_running_loop()
        try:
            request = self._request(host, port)
        except ProxyError:
            sock.close()
            raise
        asking = _ConnectRequest(request, self._authorization is not None)
        try:
            try:
                async with asyncio.timeout(seconds * SHARE):
                    await loop.create_connection(
                        lambda: asking,
                        sock=sock,
                        ssl=self._context,
                        server_hostname=None if self._context is None else self.host,
                        ssl_shutdown_timeout=None if self._context is None else 1.0,
                    )
                    await asking.answered
            except TimeoutError:
                problem = "made no TLS connection" if asking.transport is None else "did not answer CONNECT"
                raise ProxyError(f"the proxy {problem} within {seconds * SHARE:.3g} s") from None
            except OSError as error:
                raise self.name_error(error) from error
            keeping = _EarlyData()
            transport = await loop.start_tls(
                cast(asyncio.WriteTransport, asking.transport),
                keeping,
                context,
                server_hostname=host,
                ssl_shutdown_timeout=1.0,
            )
        except BaseException:
            if asking.transport is not None:
                asking.transport.abort()
            raise
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        protocol = new_protocol()
        keeping.hand_over(transport, protocol)
        return protocol

    def name_error(self, error: OSError) -> ProxyError | CertificateError:
        """The error of pushcore for one raised while the proxy's name was resolved or the proxy was connected to."""
        # The proxy is the server of this connection, so the same messages apply.
        named = name_tls_error(error)
        text = str(named).replace("the server", "the proxy")
        if isinstance(named, CertificateError):
            return CertificateError(text)
        return ProxyError(text, permanent=named.permanent)

    def _request(self, host: str, port: int) -> bytes:
        try:
            name = host if host.isascii() else host.encode("idna").decode("ascii")
        except UnicodeError:
            name = ""
        if not name or not name.isprintable() or " " in name:
            raise ProxyError("the server's name cannot be written in a request", permanent=True)
        target = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._authorization is not None:
            lines.append(f"Proxy-Authorization: {self._authorization}")
        return "\r\n".join((*lines, "", "")).encode("ascii")

    def __repr__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self._context is None else "https"
        return f"<Proxy {scheme}://{host}:{self.port}{' with a password' if self._authorization else ''}>"


def find_proxy(given: Proxy | str | None, host: str, port: int) -> Proxy | None:
    """The proxy for one server by a client's `proxy` argument: a proxy, its address, "environment", or None.

    Raises:
        ConfigurationError: the argument, or an environment variable, is not the address of a proxy.
    """
    if given is None or isinstance(given, Proxy):
        return given
    if given == ENVIRONMENT:
        return Proxy.from_environment(host, port=port)
    return Proxy.parse(given)


class _ConnectRequest(asyncio.Protocol):
    """Requests the tunnel. `answered` is done when the proxy has opened it, or fails with a `ProxyError`."""

    def __init__(self, request: bytes, with_password: bool) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._with_password = with_password
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            return  # the request has failed, and the transport is about to be aborted
        self._received += data
        try:
            if self._accepted():
                cast(asyncio.Transport, self.transport).pause_reading()  # the next bytes belong to TLS
                self.answered.set_result(None)
        except ProxyError as error:
            self._fail(error)

    def eof_received(self) -> bool:
        self._fail(ProxyError("the proxy closed the connection without a response"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(ProxyError("the proxy closed the connection without a response"))

    def _accepted(self) -> bool:
        """Whether the whole response has arrived. Raises `ProxyError` if it does not accept the request."""
        received = self._received
        while True:
            end = _END_OF_HEADER.search(received, 0, MAX_HEADER)
            if end is None and len(received) >= MAX_HEADER:
                raise ProxyError(f"the proxy's response has more than {MAX_HEADER} bytes of header")
            if end is None and b"\n" not in received and not _may_be_http(received):
                raise ProxyError("the proxy did not respond in HTTP")
            line = _STATUS_LINE.match(received)
            if line is None and b"\n" in received:
                raise ProxyError("the proxy did not respond in HTTP")
            if end is None or line is None:
                return False
            status = int(line[1])
            if status >= 200:
                break
            del received[: end.end()]  # an interim response (RFC 9110, section 15.2)
        if status >= 300:
            raise self._refusal(status, bytes(received[: end.end()]))
        if len(received) > end.end():
            # The server at the end of the tunnel sends nothing before our handshake, so these bytes are an error.
            raise ProxyError("the proxy sent more than its response")
        return True

    def _refusal(self, status: int, header: bytes) -> ProxyError:
        try:
            phrase = f"{status} {http.HTTPStatus(status).phrase}"
        except ValueError:
            phrase = str(status)
        schemes = [scheme.decode("ascii") for scheme in _SCHEMES.findall(header)][:5]
        if status != 407:
            text = f"the proxy refused the connection to the server: {phrase}"
        elif schemes and not any(scheme.lower() == "basic" for scheme in schemes):
            text = f"the proxy requires a kind of authentication that is not supported: {', '.join(schemes)}"
        elif self._with_password:
            text = f"the proxy does not accept its name and password: {phrase}"
        else:
            text = f"the proxy requires a name and a password: {phrase}"
        return ProxyError(text, status=status, permanent=status in _PERMANENT)

    def _fail(self, error: ProxyError) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # marked as retrieved: the dial may have been cancelled


class _EarlyData(asyncio.Protocol):
    """Keeps the bytes that arrive between the end of the TLS handshake and the return of `start_tls`.

    The first bytes of a server often arrive with the end of its handshake, before its protocol is set.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._lost = False
        self._error: Exception | None = None

    def data_received(self, data: bytes) -> None:
        self._kept += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost, self._error = True, exc

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Connect the transport and the protocol, and pass on what has arrived before."""
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._kept:
            protocol.data_received(bytes(self._kept))
        if self._lost:
            protocol.connection_lost(self._error)


def _may_be_http(received: bytearray) -> bool:
    start = b"HTTP/1."
    return received[: len(start)] == start[: len(received)]


def _basic(username: str | None, password: str | None) -> str | None:
    if username is None and password is None:
        return None
    credentials = f"{username or ''}:{password or ''}"
    if ":" in (username or "") or not credentials.isprintable():
        raise ConfigurationError(
            "a proxy's user name must not contain a colon, and neither name nor password a control character"
        )
    return f"Basic {base64.b64encode(credentials.encode()).decode('ascii')}"
