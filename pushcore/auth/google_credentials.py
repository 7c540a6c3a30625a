"""Credentials of `google-auth` instead of a service account: application default, workload identity, impersonation.

google-auth requests its tokens with blocking calls, which can hang forever if packets are dropped
(google-auth-library-python #1602). So they run in a separate thread, with a timeout for each call and for the whole refresh.
Needs the extra `pushcore[google-auth]`, which is imported when it is first used.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import AccessTokenError, ConfigurationError
from ..key_material import checked_path
from ..reasons import UNEXPECTED, describe_unexpected
from ..redaction import redact
from .access_token import LONGEST_LIFE, AccessToken
from .service_account import OTHER_TYPES, SCOPE, ServiceAccount, TokenResponse, read_info, read_token

TIMEOUT: Final = 20.0
"""Seconds for a whole refresh: impersonation needs two requests, workload identity three."""
CALL_TIMEOUT: Final = 10.0
"""Seconds without data after which one request fails."""
_METADATA: Final = "/computeMetadata/"
"""A part of the URLs of Google Cloud's metadata server, whose responses have the field Metadata-Flavor."""


def read_credentials(
    source: str | bytes | os.PathLike[str], *, name: str | None = None
) -> ServiceAccount | Any:
    """The credentials in a credentials file of Google, of any type of application default credentials.

    Args:
        source: the path of a JSON file, or its content. Only use a file that you trust: it says which server gets the
            request for a token (Google: "Validate credential configurations from external sources").
        name: the name of the file in errors; None: the path, or "the service account".

    Returns:
        A `ServiceAccount`, or a `google.auth.credentials.Credentials` for the other types: authorized_user,
        external_account, impersonated_service_account and further types.

    Raises:
        ConfigurationError: the file cannot be read, has another type, lacks a field, or needs google-auth, which is not
            installed.
    """
    name, info = read_info(source, name=name)
    kind = info.get("type")
    if kind not in OTHER_TYPES:
        return ServiceAccount.from_info(info, name=name)
    try:
        import google.auth
        from google.auth import exceptions
    except ImportError:
        problem = 'need google-auth, which is not installed; pip install "pushcore[google-auth]"'
    else:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the advice to check files of others
                # Without scopes, which are added later: with them it would request the project from the network.
                load: Any = google.auth.load_credentials_from_dict
                return load(dict(info))[0]
        except (exceptions.GoogleAuthError, ValueError) as error:
            problem = f"cannot be used by google-auth: {_printable(error)}"
        except (TypeError, LookupError, AttributeError):
            problem = "cannot be used by google-auth: a member is missing or of a wrong type"
    raise ConfigurationError(f'{name} holds credentials of the type "{kind}", which {problem}')


def is_google(auth: object) -> bool:
    """Whether `auth` is a credentials object of google-auth."""
    module = sys.modules.get("google.auth.credentials")
    return module is not None and isinstance(auth, module.Credentials)


class GoogleCredentials:
    """Issues the tokens of a `google.auth.credentials.Credentials`.

    `scopes` are added if the credentials have none yet. `ca_file`: the path of a PEM file with the only certificate authorities
    to trust, None: those of `requests`. `timeout`: seconds for one refresh. `project_id`, `quota_project`: those of the
    credentials, or None.

    Raises `ConfigurationError` if google-auth or `requests` is not installed.
    """

    def __init__(
        self,
        credentials: Any,
        *,
        scopes: Sequence[str] = (SCOPE,),
        ca_file: str | bytes | os.PathLike[str] | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        try:
            from google.auth import credentials as google_credentials
            from google.auth import exceptions
            from google.auth.transport import requests as transport
        except ImportError as error:
            raise ConfigurationError(
                f"credentials of google-auth need {error.name or 'requests'}, which is not installed; "
                'pip install "pushcore[google-auth]"'
            ) from None
        self._exceptions: Any = exceptions
        self._new_request: Callable[[], Any] = transport.Request
        with_scopes: Any = google_credentials.with_scopes_if_required
        self._credentials: Any = with_scopes(credentials, list(scopes))
        # `requests` accepts only a path.
        self._ca_file = None if ca_file is None else checked_path(ca_file, "ca_file")
        self._timeout = timeout
        self._issued: str | None = None
        self._thread: threading.Thread | None = None
        self._busy = False  # whether a refresh is still running
        # The last request of the refresh: method, URL and response.
        self._last: tuple[str, str, Any] | None = None
        self.project_id = _text(getattr(credentials, "project_id", None))
        self.quota_project = _text(getattr(credentials, "quota_project_id", None))

    async def issue(self) -> AccessToken:
        """The token of the credentials; if it was returned before, they are refreshed first.

        Raises:
            AccessTokenError: there is no token; `permanent` if a retry cannot help.
        """
        credentials = self._credentials
        if credentials.token is None or credentials.token == self._issued or not credentials.valid:
            await self._refresh()
        self._issued = credentials.token
        return AccessToken(credentials.token, _seconds_left(credentials.expiry))

    async def _refresh(self) -> None:
        """Refresh in a thread; the caller continues at the timeout, even if the thread does not."""
        if self._busy:
            raise AccessTokenError("the last refresh by google-auth has not ended")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def refresh() -> None:
            error: BaseException | None = None
            request = self._new_request()
            try:
                self._credentials.refresh(self._bounded(request))
            except BaseException as failure:
                error = self._named(failure)
            finally:
                request.session.close()
                self._busy = False
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing waits for the result
                loop.call_soon_threadsafe(settle, error)

        # Not in the executor of the loop: the interpreter waits for its threads when it exits.
        self._busy = True
        self._thread = threading.Thread(target=refresh, name="pushcore google-auth", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._timeout):
                await done
        except TimeoutError:
            raise AccessTokenError(
                f"google-auth did not refresh its token within {self._timeout:g} s"
            ) from None

    def _bounded(self, request: Any) -> Any:
        """google-auth's request function, limited to the remaining time."""
        ends = time.monotonic() + self._timeout
        exceptions = self._exceptions

        def bounded(
            url: str,
            method: str = "GET",
            body: Any = None,
            headers: Any = None,
            timeout: float | None = None,
            **options: Any,
        ) -> Any:
            left = min(ends - time.monotonic(), CALL_TIMEOUT, timeout or CALL_TIMEOUT)
            if left <= 0:  # google-auth retries some calls
                raise exceptions.TransportError("the time limit of a refresh has passed")
            if self._ca_file is not None:  # takes precedence over REQUESTS_CA_BUNDLE
                options["verify"] = self._ca_file
            self._last = None
            response = request(url, method=method, body=body, headers=headers, timeout=left, **options)
            self._last = method, url, response
            return response

        return bounded

    def _named(self, error: BaseException) -> AccessTokenError:
        """An error of google-auth, classified: whether a retry can help, and whether it is the response of another server."""
        if self._last is not None and (problem := _problem_of(*self._last)) is not None:
            return problem
        exceptions = self._exceptions
        causes = (error, error.__cause__, error.__context__, *error.args)
        temporary = getattr(error, "retryable", False) or any(
            isinstance(cause, exceptions.TransportError | exceptions.TimeoutError | OSError)
            for cause in causes
        )
        reason = _reason(error)
        return AccessTokenError(
            f"google-auth: {type(error).__name__}: {_printable(error)}",
            permanent=not temporary,
            reason=reason,
        )

    def __repr__(self) -> str:
        return f"<GoogleCredentials {type(self._credentials).__name__}>"


def _problem_of(method: str, url: str, response: Any) -> AccessTokenError | None:
    """What is wrong with a response that google-auth got; None if it is the kind of response that google-auth expects.

    google-auth tries to read any response, repeats it in its error, and knows only some statuses that are temporary.
    """
    status, body = response.status, response.data
    if method == "POST":
        if status == 200 and b"accessToken" in body:  # of an impersonated account
            return None
        try:
            read_token(TokenResponse(status, body))
        except AccessTokenError as error:
            return AccessTokenError(f"google-auth: {error}", permanent=error.permanent, reason=error.reason)
    elif _METADATA in url and "metadata-flavor" not in {name.lower() for name in response.headers}:
        text = describe_unexpected("the metadata server", status, body)
        permanent = 400 <= status < 500
        reason = UNEXPECTED.name if status < 500 else None
        return AccessTokenError(f"google-auth: {text}", permanent=permanent, reason=reason)
    return None


def _printable(error: BaseException) -> str:
    """The message of google-auth for a log: its first argument, because further ones may be a whole response."""
    text = redact(str(error.args[0] if error.args else error))[:200]
    return "".join(char if char.isprintable() else " " for char in text).strip()


def _seconds_left(expiry: datetime.datetime | None) -> float:
    if expiry is None:  # google-auth: it never expires
        return LONGEST_LIFE
    # Naive and in UTC, by google-auth's convention.
    return expiry.replace(tzinfo=expiry.tzinfo or datetime.UTC).timestamp() - time.time()


def _reason(error: BaseException) -> str | None:
    """OAuth's error code, if google-auth passes on the JSON of the endpoint as the second argument of its error."""
    response = error.args[1] if len(error.args) > 1 else None
    return _text(response.get("error")) if isinstance(response, dict) else None


def _text(value: object) -> str | None:
    return value[:100] if isinstance(value, str) and value else None
