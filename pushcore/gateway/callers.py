"""Callers and their tokens. The gateway knows only the SHA-256 of a token."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Final

from .config import CallerSection
from .problems import GatewayProblem

PREFIX: Final = "pcg_"
"""What a token begins with, so that scanners of source code find one that was committed."""
_BYTES: Final = 24
_MAX_TOKEN: Final = 256
_ANONYMOUS: Final = "-"
"""No caller can be called so."""
_MOST_ANONYMOUS: Final = 256
"""Requests at a time without a token."""


def new_token() -> str:
    """A token of 192 random bits."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> str:
    """The SHA-256 of a token in hexadecimal, which the configuration has. A random token needs no salt."""
    return sha256(token.encode()).hexdigest()


class Caller:
    """A program that sends. `active`: its requests in progress.

    Args:
        name: for logs and metrics.
        apps: ids of the apps that it may use; empty for all.
        concurrent: limit of requests at a time.
        rate: limit of pushes per second, None for none; the pushes of one second may come at once.
    """

    __slots__ = ("_clock", "_credit", "_credit_at", "active", "apps", "concurrent", "name", "rate")

    def __init__(
        self,
        name: str,
        apps: Iterable[str] = (),
        concurrent: int = 64,
        rate: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.apps = frozenset(apps)
        self.concurrent = concurrent
        self.rate = rate
        self.active = 0
        self._clock = clock
        self._credit = max(rate or 0.0, 1.0)
        self._credit_at = clock()

    @classmethod
    def of(cls, section: CallerSection) -> Caller:
        """The caller of a section of the configuration."""
        return cls(section.name, section.apps, section.concurrent, section.rate)

    def enter(self) -> None:
        """Begin a request; `leave` ends it. Raises `GatewayProblem` 429 if the caller has too many already."""
        if self.active >= self.concurrent:
            raise GatewayProblem(
                429,
                "too-many-requests",
                f"caller {self.name} has {self.concurrent} requests in progress, which is its limit",
                retry_after=1,
            )
        self.active += 1

    def leave(self) -> None:
        """End a request."""
        self.active -= 1

    def spend(self, pushes: int) -> None:
        """Count the pushes of a request, before the first is sent. Raises `GatewayProblem` 429 if the rate does not permit them."""
        wait = self.wait_for(pushes)
        if wait > 0:
            raise GatewayProblem(
                429,
                "rate-exceeded",
                f"caller {self.name} may send at most {self.rate:g} pushes a second",
                retry_after=wait,
            )

    def wait_for(self, pushes: int) -> float:
        """Seconds until the rate permits this number of pushes; if 0, they are deducted.

        More than the pushes of a second are permitted if the credit is full; the caller then waits longer.
        """
        if self.rate is None:
            return 0.0
        now = self._clock()
        self._credit = min(self._credit + (now - self._credit_at) * self.rate, max(self.rate, 1.0))
        self._credit_at = now
        needed = min(float(pushes), max(self.rate, 1.0))
        if self._credit < needed:
            return (needed - self._credit) / self.rate
        self._credit -= pushes
        return 0.0


class Callers:
    """All callers of a configuration. If it has none, all clients are one caller.

    Args:
        sections: of the configuration.
        known: the present callers: one with the same name and limits keeps its state.
    """

    def __init__(self, sections: Iterable[CallerSection], known: Callers | None = None) -> None:
        self._by_prefix: dict[bytes, tuple[bytes, Caller]] = {}
        self.all: list[Caller] = []
        before = {caller.name: caller for caller in known.all} if known is not None else {}
        for section in sections:
            caller = Caller.of(section)
            old = before.get(section.name)
            if old is not None:
                caller = old
                old.apps, old.concurrent, old.rate = frozenset(section.apps), section.concurrent, section.rate
            self.all.append(caller)
            for token in section.tokens:
                digest = bytes.fromhex(token)
                self._by_prefix[digest[:16]] = digest, caller
        self.anonymous_caller: Caller = (
            known.anonymous_caller if known is not None else Caller(_ANONYMOUS, concurrent=_MOST_ANONYMOUS)
        )
        """The caller of endpoints that ask for no token."""
        self._anonymous = None if self.all else self.anonymous_caller

    def find(self, authorization: bytes | None) -> Caller:
        """The caller of an `Authorization` header. Raises `GatewayProblem` 401.

        Its duration does not reveal a token: it depends on the token's SHA-256, which a client cannot choose, and which is compared
        in constant time at the end.
        """
        if self._anonymous is not None:
            return self._anonymous
        scheme, _, token = (authorization or b"").partition(b" ")
        token = token.strip()
        if scheme.lower() == b"bearer" and token and len(token) <= _MAX_TOKEN:
            digest = sha256(token).digest()
            wanted, caller = self._by_prefix.get(digest[:16], (b"", None))
            if hmac.compare_digest(digest, wanted) and caller is not None:
                return caller
        raise GatewayProblem(401, "unauthorized", "expected Authorization: Bearer with a caller's token")
