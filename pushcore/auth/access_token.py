"""Google's access tokens: requested once for all waiting pushes, renewed before they expire, never requested in a loop.

`AccessTokens` holds the token in use. It has no timer: the sender calls `current`, which requests a token if one is needed,
one request at a time:

* There is a token, and it expires later: it is returned, and nothing else happens.
* It expires soon: it is returned, and a new one is requested meanwhile.
* There is none: None is returned, and the sender waits for `on_change` or calls again.

A temporary failure (5xx, no connection, 429) delays the next request by a backoff that doubles up to a limit. A permanent one
(`invalid_grant`) delays it by `COOL_DOWN`, and until then every push that needs a token fails at once (`hopeless`). Neither
touches a token that is still valid. When the wall clock is set meanwhile, the backoff ends: the clock may have caused the
`invalid_grant`. When it is set back to before the last token was issued, that token would seem valid for too long, so a new one
is requested.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import AccessTokenError

EARLY: Final = 300.0
"""Seconds before its expiry at which a token is renewed; each process adds a random part of as much again."""
MARGIN: Final = 30.0
"""Seconds before its expiry from which a token is no longer used: a request takes time to arrive."""
COOL_DOWN: Final = 60.0
"""Seconds until the next request after a permanent failure, and between two renewals of a rejected token."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds after a temporary failure, doubled each time."""
LONGEST_WAIT: Final = 600.0
"""The longest `Retry-After` that we obey, in seconds."""
LONGEST_LIFE: Final = 86_400.0
CLOCK_STEP: Final = 10.0
"""Seconds by which the wall clock must have stepped since a rejection for a new request at once."""

_TOKEN: Final = re.compile(r"[!-~]{1,8192}", re.ASCII)

log = logging.getLogger(__name__)


class AccessToken:
    """A new token.

    `value`: the value of the `authorization` header, b"Bearer " and the token: a secret. `expires_in`: its lifetime in seconds.
    """

    __slots__ = ("expires_in", "value")

    def __init__(self, token: object, expires_in: object) -> None:
        """Takes the members `access_token` and `expires_in` of the issuer's response.

        Raises:
            AccessTokenError: the token cannot be the value of a header, or `expires_in` is not a positive number.
        """
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise AccessTokenError("the response of the token endpoint has no access token")
        if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not expires_in > 0:
            raise AccessTokenError("the response of the token endpoint has no expiry of the token")
        self.value = b"Bearer " + token.encode()
        self.expires_in = min(float(expires_in), LONGEST_LIFE)

    def __repr__(self) -> str:
        return f"<AccessToken expires_in={self.expires_in:g}>"


class AccessTokens:
    """The access token of one client.

    `issue` requests a token and raises `AccessTokenError` if that fails. `on_change` is called after each request, successful
    or not. `now`: the wall clock in UNIX seconds, for the expiry of tokens. `clock`: a monotonic clock in seconds, for pauses.
    `minted`: the number of tokens received. `error`: the error of the last request, None after a success.

    It belongs to one event loop. `close` ends it.
    """

    __slots__ = (
        "_asked_offset",
        "_clock",
        "_expires",
        "_failures",
        "_issue",
        "_minted_at",
        "_not_before",
        "_now",
        "_on_change",
        "_renew_at",
        "_renewed_until",
        "_rng",
        "_task",
        "_value",
        "_version",
        "error",
        "minted",
    )

    def __init__(
        self,
        issue: Callable[[], Awaitable[AccessToken]],
        on_change: Callable[[], None],
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self._issue = issue
        self._on_change = on_change
        self._now = now
        self._clock = clock
        self._rng = rng or random.Random()
        self._value: bytes | None = None
        self._renew_at = self._expires = -math.inf  # by `now`
        self._minted_at = -math.inf  # by `now`: an earlier `now` means that the clock was set back
        self._asked_offset = 0.0  # `now` minus `clock` at the last request
        self._not_before = -math.inf  # by `clock`: when the next request is allowed
        self._renewed_until = -math.inf  # by `clock`: until then a rejected token is not replaced again
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self._version = 0  # of the issuer
        self.minted = 0
        self.error: AccessTokenError | None = None

    def current(self) -> bytes | None:
        """The value of `authorization` to send now; None while there is no token. Never waits."""
        now = self._now()
        if self._minted_at <= now < self._renew_at:
            return self._value
        if self._task is None:
            clock = self._clock()
            if clock >= self._not_before or self._was_clock_set(now - clock):
                self._asked_offset = now - clock
                self._task = asyncio.get_running_loop().create_task(
                    self._mint(), name="pushcore access token"
                )
        return self._value if now < self._expires else None

    def renew(self) -> None:
        """The issuer was replaced: request a token from the new one. The old token is used until the new one arrives."""
        self._version += 1
        self._renew_at = self._not_before = self._renewed_until = -math.inf
        self._failures = 0
        self.error = None
        self.current()

    @property
    def expires(self) -> float:
        """UNIX seconds until which the token is used; minus infinity without one."""
        return self._expires

    @property
    def missing(self) -> bool:
        """Whether there is no valid token now."""
        return self._now() >= self._expires

    @property
    def hopeless(self) -> bool:
        """Whether there is no valid token, and the error is permanent, so that waiting does not help."""
        error = self.error
        return error is not None and error.permanent and self._task is None and self.missing

    def invalidate(self) -> bool:
        """Replaces the current token, which the server has rejected before its expiry.

        Returns:
            Whether a retry may succeed. Within `COOL_DOWN` it does so once: when the new token is rejected as well, the token is not
            the cause.
        """
        if self._value is None:
            return True  # an earlier response has rejected it already
        clock = self._clock()
        if clock < self._renewed_until:
            return False
        self._renewed_until = clock + COOL_DOWN
        self._value = None
        self._renew_at = self._expires = -math.inf
        log.warning("the access token was rejected before its expiry; requesting another")
        self.current()
        return True

    def _was_clock_set(self, offset: float) -> bool:
        """Whether the wall clock has stepped since a rejected request; `offset`: its lead on `clock`, in seconds."""
        rejected = self.error is not None and self.error.permanent and self._not_before < math.inf
        return rejected and abs(offset - self._asked_offset) >= CLOCK_STEP

    async def close(self) -> None:
        """Cancels the request in flight, and makes no other."""
        self._not_before = math.inf
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _mint(self) -> None:
        try:
            version = None
            while version != self._version:  # otherwise the issuer was replaced meanwhile
                version = self._version
                outcome = await self._outcome()
            if isinstance(outcome, AccessToken):
                self._adopt(outcome)
            else:
                self._failed(outcome)
        finally:
            self._task = None
        self._on_change()

    async def _outcome(self) -> AccessToken | AccessTokenError:
        try:
            return await self._issue()
        except AccessTokenError as error:
            return error
        except Exception as error:
            # A bug in the issuer; the waiting pushes must still end.
            log.exception("the request for an access token failed unexpectedly")
            return AccessTokenError(f"the request for an access token failed: {type(error).__name__}")

    def _adopt(self, token: AccessToken) -> None:
        now, life = self._now(), token.expires_in
        # Processes that were started together should not renew at the same time.
        early = min(EARLY * self._rng.uniform(1.0, 2.0), life / 4)
        self._renew_at = now + life - early
        self._expires = now + life - min(MARGIN, life / 8)
        self._minted_at = now
        self._value = token.value
        self._failures = 0
        self.minted += 1
        self.error = None

    def _failed(self, error: AccessTokenError) -> None:
        self.error = error
        if error.permanent:
            backoff = COOL_DOWN
        else:
            backoff = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
            backoff *= self._rng.uniform(0.5, 1.0)
            self._failures += 1
            if error.retry_after is not None:
                backoff = max(backoff, min(error.retry_after, LONGEST_WAIT))
        self._not_before = self._clock() + backoff
        log.warning("no access token: %s", error)

    def __repr__(self) -> str:
        return f"<AccessTokens minted={self.minted} error={self.error}>"
