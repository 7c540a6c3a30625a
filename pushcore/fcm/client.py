"""`FcmClient`: sends messages to FCM, with a result for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from ..arguments import check_choice, check_type, kind
from ..auth.google_credentials import GoogleCredentials, is_google
from ..auth.service_account import ServiceAccount
from ..errors import ConfigurationError
from ..http2.origin import Origin, read_origin
from ..http2.protocol import Http2
from ..http2.proxy import Proxy
from ..http2.streams import KEEPALIVE, KeepAlive
from ..http2.tls import PathOrContent
from ..models.fcm import Message
from ..provider_client import ProviderClient
from ..results import Result
from .confirmation import Confirm
from .dispatcher import FcmDispatcher

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

M = TypeVar("M", bound=Message)

HOST: Final = "fcm.googleapis.com"


class FcmClient(ProviderClient[Message]):
    """Sends to one project of FCM with one account, over a few HTTP/2 connections.

    All pushes share one access token. It is requested when the client is opened, and again shortly before it
    expires. Until the first token arrives, pushes are queued, for at most their timeout. If Google rejects the
    account, they end as MISCONFIGURED at once.

    Use it as an async context manager, on one event loop.

    Args:
        auth: a `ServiceAccount`, or any credentials object of google-auth (with the extra
            `pushcore[google-auth]`).
        project_id: the project, if it is not the account's own, or if the account does not name one.
        url: another server instead of Google's, such as "https://127.0.0.1:8443".
        ca_file: the only CAs to trust, also for access tokens, as the path of a PEM file or its content (for
            google-auth only a path); None for the system's.
        max_connections: the limit of open connections; Google allows 100 requests at a time on each.
        timeout: seconds from the moment when the client takes a push until its result.
        http2: "fast", or "reference" for the one on python-hyper/h2.
        proxy: as for `ApnsClient`, and for access tokens as well. google-auth's own requests always use
            HTTPS_PROXY.
        confirm: what to do if Google blames a token, and no message of the same shape has been accepted lately (so
            the message may be the cause). "validate_only" asks Google again with a minimal message that delivers
            nothing, at most 100 times a second, before the push gets its result. None leaves such a token INVALID
            and suspect.
        idle_ping: seconds without traffic after which a connection is pinged; None for never. Google responds to
            such pings with GOAWAY "too_many_pings", so set it only for other servers.
        keepalive: as for `ApnsClient`.
        now: the wall clock, UNIX seconds.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    _dispatcher: FcmDispatcher

    def __init__(
        self,
        auth: ServiceAccount | Credentials,
        *,
        project_id: str | None = None,
        url: str | None = None,
        ca_file: PathOrContent | None = None,
        max_connections: int = 10,
        timeout: float = 10.0,
        http2: Http2 = "fast",
        proxy: Proxy | str | None = None,
        confirm: Confirm | None = None,
        idle_ping: float | None = None,
        keepalive: KeepAlive | None = KEEPALIVE,
        now: Callable[[], float] = time.time,
    ) -> None:
        if confirm is not None:
            check_choice("confirm", confirm, ("validate_only",))
        account = _account_of(auth, ca_file)
        self._own_project = project_id is None  # the account says which
        check_type("project_id", project_id, (str, type(None)), "the id of a project or None")
        project_id = project_id or account.project_id
        if project_id is None:
            raise ConfigurationError("project_id must be given: these credentials contain no project")
        self.project_id = project_id
        """The project whose devices get the pushes."""
        dispatcher = FcmDispatcher(
            account,
            Origin(HOST) if url is None else read_origin(url),
            project_id,
            ca_file,
            max_connections=max_connections,
            timeout=timeout,
            http2=http2,
            proxy=proxy,
            confirm=confirm,
            idle_ping=idle_ping,
            keepalive=keepalive,
            now=now,
        )
        super().__init__(dispatcher)

    if TYPE_CHECKING:  # the same method, whose result knows a subclass

        async def send(self, push: M) -> Result[M]: ...

    def use(self, auth: ServiceAccount | Credentials) -> None:
        """Replace the account by another account, or by another key of the same account. The client may be open and sending.

        The old access token is used until the first token of the new account arrives. No push is lost or sent twice.

        Raises:
            ConfigurationError: the account is wrong; the client keeps the old one.
            EventLoopError: the client was opened on another event loop.
        """
        account = _account_of(auth, self._dispatcher.ca_file)
        if self._own_project and account.project_id not in (None, self.project_id):
            raise ConfigurationError(
                f"the account belongs to the project {account.project_id}, and this client sends to {self.project_id}"
            )
        self._dispatcher.use(account)


def _account_of(
    auth: ServiceAccount | Credentials, ca_file: PathOrContent | None
) -> ServiceAccount | GoogleCredentials:
    """The object that signs. Raises `ConfigurationError` for an object of another kind."""
    if isinstance(auth, ServiceAccount):
        return auth
    if is_google(auth):
        return GoogleCredentials(auth, ca_file=ca_file)
    raise ConfigurationError(
        f"auth must be a ServiceAccount or a credentials object of google-auth, not {kind(auth)}"
    )
