"""Apple's provider tokens: the current token, and the token that a connection may use.

Apple rejects a token older than an hour, and a connection that changes its token more than once in 20 minutes
("Establishing a token-based connection to APNs"). Processes obey both rules without communication:

* Wall time is divided into slots of 30 minutes, with an offset from a hash of the key id, so that not all keys change
  at the same time. The current token has the start of its slot as `iat` and a deterministic signature, so every process of a
  fleet makes the same bytes. A slot begins `margin` (2 minutes) late, so that no `iat` is in the future for a server with a
  clock that is a little slow.
* A connection (`TokenLease`) keeps its token until the first use of the token is `hold` (20 minutes) ago.

So no token is older than 30 + 2 + 20 = 52 minutes when it is used.

**When the wall clock steps.** A step back of less than `margin` changes nothing: the current token is still in the past.
After a longer one that token is in the future, and Apple rejects it (InvalidProviderToken). So the key returns to the slot
of the clock at once, and a connection that used the later token is replaced by a new one. A lease counts the time that passes
between its calls and not the step, so its 20 minutes end on time. A step forward looks like a pause: it ends the
20 minutes early; a connection that Apple rejects the next token on (429 TooManyProviderTokenUpdates) is replaced by a new one.

**A rejected token.** After ExpiredProviderToken Apple rejects everything on that connection, also with a newer token. So a
connection that used an older token is replaced (`TokenLease.first`). If the newest token itself was rejected, this machine's
clock may be half an hour slow. Then the key makes a token that is as new as possible for new connections (`ApnsKey.renew`), once
per slot. A connection that has used only the rejected token is replaced as soon as there is another token
(`TokenLease.rejected`): a new connection with the same token would have the same result.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable
from typing import Final, Literal, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..arguments import check_choice, check_texts, check_type, check_whole, kind
from ..errors import ConfigurationError
from ..key_material import Wrong, find_private_key, is_pkcs12, key_algorithm, plain, read_material
from ..redaction import is_der
from .jws import compact, es256

Environment = Literal["production", "sandbox"]
"""Apple's environments: each has its own device tokens and servers."""

MAX_AGE: Final = 3600
"""Seconds after which Apple rejects a token."""
HOLD: Final = 1200.0
"""Seconds for which a connection must keep a token."""
LOOK_AGAIN: Final = 60.0
"""Seconds after which `TokenLease.renew` must be called again: it then notices a step of the clock."""

_IDENTIFIER: Final = re.compile(r"[A-Z0-9]{10}", re.ASCII)
_IDENTIFIER_RULE: Final = "10 characters of A-Z and 0-9, as Apple shows it for the key"
_EXPECTED: Final = (
    'expected the .p8 file from Apple, an unencrypted P-256 private key in PEM ("BEGIN PRIVATE KEY")'
)


class ProviderToken:
    """One token.

    `value`: the value of the `authorization` header, b"bearer " and the JWT: a secret. `iat`: UNIX seconds. `until`: the wall
    time at which the next slot begins, in UNIX seconds.
    """

    __slots__ = ("iat", "until", "value")

    def __init__(self, value: bytes, iat: int, until: float) -> None:
        self.value = value
        self.iat = iat
        self.until = until

    def __repr__(self) -> str:
        return f"<ProviderToken iat={self.iat}>"


class ApnsKey:
    """A signing key for APNs, and its current provider token.

    `signatures`: the number of tokens that this process has signed.

    Args:
        key: the private key, on P-256; `from_file` and `from_pem` read one.
        key_id: the key's id in Apple's developer account, 10 characters.
        team_id: the team's id in Apple's developer account, 10 characters.
        topics: the bundle ids of a topic-specific key; None for a key of the whole team.
        environment: "sandbox" or "production" for a key that is restricted to it; None for a key for both.
        slot: seconds after which a new token is made; all processes of a fleet must have the same value.
        margin: seconds by which the clocks of a fleet may differ; all its processes must have the same value.
    """

    __slots__ = (
        "_current",
        "_offset",
        "_sign",
        "environment",
        "key_id",
        "margin",
        "signatures",
        "slot",
        "team_id",
        "topics",
    )

    def __init__(
        self,
        key: ec.EllipticCurvePrivateKey,
        *,
        key_id: str,
        team_id: str,
        topics: Iterable[str] | None = None,
        environment: Environment | None = None,
        slot: int = 1800,
        margin: int = 120,
    ) -> None:
        """Check the arguments.

        Raises:
            ConfigurationError: an identifier is not 10 characters of A-Z and 0-9, `topics` or `environment` is invalid, or
                slot, margin and the 20 minutes of a connection together exceed the lifetime of a token.
        """
        key_id = _checked_identifier("key_id", key_id)
        team_id = _checked_identifier("team_id", team_id)
        check_type("key", key, ec.EllipticCurvePrivateKey, "a key on P-256; from_file and from_pem read one")
        _check_key(key, _wrong("key"))
        check_whole("slot", slot, least=1, most=MAX_AGE)
        check_whole("margin", margin, least=0, most=MAX_AGE)
        if slot + margin + HOLD > MAX_AGE:
            raise ConfigurationError(
                f"slot and margin must be at most {MAX_AGE - HOLD:.0f} s together "
                f"(Apple's hour less 20 minutes), not {slot} and {margin}"
            )
        if environment is not None:
            check_choice("environment", environment, get_args(Environment))
        if topics is not None:
            topics = check_texts("topics", topics, 'a list of bundle ids such as ["com.example.app"]')
        self.topics = None if topics is None else frozenset(topics)
        self.environment = environment
        self.key_id = key_id
        self.team_id = team_id
        self.slot = slot
        self.margin = margin
        self.signatures = 0
        self._sign = es256(key)
        # Not Python's `hash`, which differs between processes.
        self._offset = int.from_bytes(hashlib.sha256(key_id.encode()).digest()[:8], "big") % slot
        self._current: ProviderToken | None = None

    @classmethod
    def from_file(
        cls,
        path: str | bytes | os.PathLike[str],
        *,
        key_id: str,
        team_id: str,
        topics: Iterable[str] | None = None,
        environment: Environment | None = None,
        name: str | None = None,
        slot: int = 1800,
        margin: int = 120,
    ) -> ApnsKey:
        """The key in a `.p8` file.

        Args:
            path: of the file; or its content, PEM or base64 of it, for example from an environment variable.
            key_id: the key's id, 10 characters.
            team_id: the team's id, 10 characters.
            topics: the bundle ids of a topic-specific key; None for a key of the whole team.
            environment: "sandbox" or "production" for a key that is restricted to it; None for a key for both.
            name: the name of the key in errors; None: the path, or "the key".
            slot: seconds after which a new token is made; all processes of a fleet must have the same value.
            margin: seconds by which the clocks of a fleet may differ; all its processes must have the same value.

        Returns:
            The key.

        Raises:
            ConfigurationError: the file cannot be read or does not contain such a key, or an argument is invalid. The
                message never contains the key.
        """
        name, pem = read_material(path, argument="the key", expected=_EXPECTED, name=name)
        return cls.from_pem(
            pem,
            key_id=key_id,
            team_id=team_id,
            topics=topics,
            environment=environment,
            name=name,
            slot=slot,
            margin=margin,
        )

    @classmethod
    def from_pem(
        cls,
        pem: str | bytes,
        *,
        key_id: str,
        team_id: str,
        topics: Iterable[str] | None = None,
        environment: Environment | None = None,
        name: str = "the key",
        slot: int = 1800,
        margin: int = 120,
    ) -> ApnsKey:
        """The key in the content of a `.p8` file.

        Args:
            pem: the content of the file.
            key_id: the key's id, 10 characters.
            team_id: the team's id, 10 characters.
            topics: the bundle ids of a topic-specific key; None for a key of the whole team.
            environment: "sandbox" or "production" for a key that is restricted to it; None for a key for both.
            name: the name of the key in errors.
            slot: seconds after which a new token is made; all processes of a fleet must have the same value.
            margin: seconds by which the clocks of a fleet may differ; all its processes must have the same value.

        Returns:
            The key.

        Raises:
            ConfigurationError: `pem` does not contain such a key, or an argument is invalid.
        """
        return cls(
            _load_key(pem, _wrong(name)),
            key_id=key_id,
            team_id=team_id,
            topics=topics,
            environment=environment,
            slot=slot,
            margin=margin,
        )

    def token(self, now: float) -> ProviderToken:
        """The current token at `now` (UNIX seconds); it is signed once per slot."""
        current = self._current
        if current is None or not current.iat <= now < current.until:
            slot_start = self._slot_start(now)
            return self._mint(slot_start, slot_start)
        return current

    def renew(self, now: float) -> ProviderToken:
        """The token to use at `now` (UNIX seconds) after Apple has rejected the newest one as expired.

        The token of the slot is replaced by one that is as new as possible, until the next slot begins. That one is not
        replaced again.
        """
        current, slot_start = self.token(now), self._slot_start(now)
        if current.iat != slot_start:
            return current
        return self._mint(math.floor(now - self.margin), slot_start)

    def _mint(self, iat: int, slot_start: int) -> ProviderToken:
        if self._current is None or self._current.iat != iat:
            header = {"alg": "ES256", "kid": self.key_id}
            token = compact(header, {"iss": self.team_id, "iat": iat}, self._sign)
            self.signatures += 1
            until = float(slot_start + self.slot + self.margin)
            self._current = ProviderToken(b"bearer " + token, iat, until)
        return self._current

    def _slot_start(self, now: float) -> int:
        seconds = math.floor(now - self.margin) - self._offset
        return seconds - seconds % self.slot + self._offset

    def __repr__(self) -> str:
        return f"<ApnsKey {self.key_id} of team {self.team_id}>"


class TokenLease:
    """The token that one connection uses.

    Use it directly before a request is sent, and at no other time, with the wall time `now` in UNIX seconds::

        if not lease.since <= now < lease.due:
            changed = lease.renew(now)

    `token`: the `ProviderToken` in use, None before the first call. `first`: the first token of the connection. `rejected`: set
    it if Apple has rejected `token` as expired although it is the newest. `must_drain`: the connection must be replaced, because
    Apple would accept no token on it. `due`: the wall time from which `renew` must be called again, at most a minute ahead.
    `since`: the wall time of the last call; a `now` before it means that the clock has stepped back, which `renew` handles.
    """

    __slots__ = ("_first_use", "_key", "due", "first", "hold", "must_drain", "rejected", "since", "token")

    def __init__(self, key: ApnsKey, hold: float = HOLD) -> None:
        self._key = key
        self.hold = hold
        self.token: ProviderToken | None = None
        self.first: ProviderToken | None = None
        self.rejected = False
        self.must_drain = False
        self.due = -math.inf
        self.since = -math.inf
        self._first_use = -math.inf  # of `token`, corrected for steps back of the clock

    @property
    def updated(self) -> bool:
        """Whether the connection has used a second token, at least `HOLD` after the first by our clock."""
        return self.first is not self.token and self.hold >= HOLD

    def renew(self, now: float) -> bytes | None:
        """The new value of `authorization` if it changes with this request; None otherwise, or if the connection `must_drain`."""
        if now < self.since:
            # The size of the step, except for the time since the last call: on a busy connection at most a minute.
            self._first_use -= self.since - now
        self.since = now
        token, newest = self.token, self._key.token(now)
        self.must_drain = token is not None and (
            token.iat > now or (self.rejected and newest.iat != token.iat)
        )
        changed = None
        # The same expression as for `due`: with different rounding there would be a time at which neither is true.
        if not self.must_drain and now >= self._first_use + self.hold:
            if token is None or newest.value != token.value:
                self._first_use = now
                changed = newest.value
            token = self.token = newest
            self.first = self.first or token
        assert token is not None  # set by the first call, because `_first_use` is -inf
        # Nothing changes before both of these times, unless the clock steps: hence the minute.
        self.due = min(max(self._first_use + self.hold, token.until), now + LOOK_AGAIN)
        return changed

    def __repr__(self) -> str:
        return f"<TokenLease {self.token!r} due={self.due}>"


def _wrong(name: str) -> Wrong:
    return lambda predicate: ConfigurationError(f"{name} {predicate}; {_EXPECTED}")


def _checked_identifier(name: str, value: str) -> str:
    # The value is not shown: it may be the key, given here by mistake.
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be {_IDENTIFIER_RULE}, not {kind(value)}")
    identifier = value.strip()  # a file or a variable often ends with a line break
    if not _IDENTIFIER.fullmatch(identifier):
        raise ConfigurationError(f"{name} must be {_IDENTIFIER_RULE}")
    return identifier


def _load_key(pem: str | bytes, wrong: Wrong) -> ec.EllipticCurvePrivateKey:
    if not isinstance(pem, str | bytes):
        raise wrong(f"must be str or bytes, not {kind(pem)}")
    content = plain(pem.encode("utf-8", "replace") if isinstance(pem, str) else pem)
    if is_der(content) and not is_pkcs12(content):
        load, data = serialization.load_der_private_key, content
    else:
        data, encrypted = find_private_key(content, wrong)
        if encrypted:
            raise wrong("is encrypted")
        load = serialization.load_pem_private_key
    try:
        key = load(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The text of OpenSSL does not help a user.
        raise wrong("is damaged or of an unknown kind") from None
    return _check_key(key, wrong)


def _check_key(key: object, wrong: Wrong) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise wrong(f"holds a key of another kind ({key_algorithm(key)})")
    if not isinstance(key.curve, ec.SECP256R1):
        raise wrong(f"holds a key on the curve {key.curve.name}")
    return key
