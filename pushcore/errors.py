"""Every exception that pushcore raises or reports, in one tree:

PushcoreError
├── ConfigurationError       a key, certificate, URL or option that cannot work (also a ValueError)
├── ClosedError              a client or engine was used after it was closed (also a RuntimeError)
├── EventLoopError           a client or engine was used on another event loop than its own (also a RuntimeError)
├── JournalError             the journal of a campaign cannot be used or written any more; nothing in it is lost
├── QueueError               a queue of chunks cannot be used; its own tree is in queue/errors.py
├── BreakerOpen              the responses say that every push would fail; `reason` is the provider's
├── PushRejected             raised by Result.raise_for_verdict(); carries the result
└── TransportError           why a push got no response; `unprocessed`: it was certainly not processed
    ├── ConnectError         no connection could be made: refused, unreachable, closed at once
    │   ├── CertificateError the server's certificate was not accepted, or the client's was not
    │   ├── AlpnError        the server does not speak HTTP/2 (no ALPN "h2")
    │   └── ProxyError       the proxy did not connect to the server; `status`, `permanent`
    ├── AccessTokenError     Google gave no access token, so nothing was sent; `permanent`, `reason`
    ├── ConnectionLost       the connection ended without a GOAWAY for this stream
    ├── ProtocolError        the peer violated RFC 9113; `code` is the code of our GOAWAY
    ├── GoAway               the peer accepts no more streams; `code`, `debug`, `reason`
    ├── StreamReset          the peer reset this stream; `code`
    ├── HeaderListTooLarge   the request's header list is larger than the peer accepts; nothing was sent
    ├── ResponseTooLarge     the response's body is larger than we accept
    └── ResponseTimeout      no response within the timeout (also a TimeoutError)

A push that the provider rejected is a `Result`, never an exception; a `TransportError` is the `detail` of a result.
Messages never contain secrets: no provider token, no key, no passphrase. Those of `ConfigurationError`, `JournalError` and
`QueueError` may quote the caller's arguments, so key material is removed from them (`redaction`).
"""

from __future__ import annotations

from .redaction import RedactedError
from .results import PushRejected as PushRejected
from .transport_errors import AccessTokenError as AccessTokenError
from .transport_errors import AlpnError as AlpnError
from .transport_errors import CertificateError as CertificateError
from .transport_errors import ConnectError as ConnectError
from .transport_errors import ConnectionLost as ConnectionLost
from .transport_errors import GoAway as GoAway
from .transport_errors import HeaderListTooLarge as HeaderListTooLarge
from .transport_errors import ProtocolError as ProtocolError
from .transport_errors import ProxyError as ProxyError
from .transport_errors import PushcoreError as PushcoreError
from .transport_errors import ResponseTimeout as ResponseTimeout
from .transport_errors import ResponseTooLarge as ResponseTooLarge
from .transport_errors import StreamReset as StreamReset
from .transport_errors import TransportError as TransportError


class ConfigurationError(RedactedError, PushcoreError, ValueError):
    """An argument or a setting cannot work; the message names it and the expected value.

    What to do: correct the value that the message names. Nothing was sent. A command ends with status 2.
    """


class ClosedError(PushcoreError, RuntimeError):
    """A client or an engine was used before it was opened or after it was closed.

    What to do: use it within its `async with` block, or between `open` and `close`.
    """


class EventLoopError(PushcoreError, RuntimeError):
    """A client or an engine was used on another event loop than the one that it was opened on; nothing was queued.

    What to do: open a client for each event loop. Every call of `asyncio.run` makes a new loop.
    """


class JournalError(RedactedError, PushcoreError):
    """A campaign's journal cannot be used, or could not be written: the sender must stop. Its content is safe.

    What to do: remove the cause that the message names (another process, a full disk, a damaged or wrong file), then run `pushcore resume`,
    or open the journal again.
    """


class BreakerOpen(PushcoreError):
    """A run was stopped, because the responses say that every push would fail; the message says what to fix.

    `reason`: the provider's reason. If several providers are concerned, the message names each, and this is that of the first.

    What to do: correct what the message names, then send the remaining pushes. No token was dropped for this reason.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason
