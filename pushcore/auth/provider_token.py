"""Apple's provider tokens: which one is in force, and which one a connection may use.

Apple refuses a token older than an hour and a connection that changes its token more than once in 20 minutes
("Establishing a token-based connection to APNs"). Both rules are kept without communication:

* Wall time is cut into slots of 30 minutes, offset by a hash of the key id so that not all keys of the world change
  at once. The token in force has the slot's start as `iat` and a deterministic signature, so every process of a
  fleet mints the same bytes. A slot comes into force `margin` (2 minutes) late, so that no `iat` lies in the future
  for a server whose clock is behind this machine's.
* A connection (`TokenLease`) keeps the token that it has used until that first use is `hold` (20 minutes) old.

Hence no token is older than 30 + 2 + 20 = 52 minutes when it is used.

**When the wall clock steps.** A step back of less than `margin` changes nothing: the token in force is still in the past.
A longer one leaves that token in the future, where Apple rejects it (InvalidProviderToken), so the key goes back to the slot
of the clock at once, and a connection that used the later token is left for a new one. A lease counts the time that passes
between its calls and not the step, so its 20 minutes end on time. A step forward cannot be told from a pause: it ends the
20 minutes early, at the risk of one 429 TooManyProviderTokenUpdates.

**A rejected token.** After ExpiredProviderToken Apple rejects everything on that connection, whatever token comes later. So a
connection that was given an older token is left (`TokenLease.first`). When the newest token was rejected itself, our clock may be
half an hour slow, and a key makes one that is as young as may be for new connections (`ApnsKey.renew`), once in a slot. A
connection whose only token was that one is left as soon as there is another (`TokenLease.rejected`): a new connection with the
same token would fare no better.
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

from ..arguments import check_choice, check_texts, check_type, check_whole
from ..errors import ConfigurationError
from ..key_material import Wrong, find_private_key, is_pkcs12, key_algorithm, plain, read_material
from ..redaction import is_der
from .jws import compact, es256

Environment = Literal["production", "sandbox"]
"""One of Apple's two, which have tokens and servers of their own."""

MAX_AGE: Final = 3600
"""Seconds after which Apple refuses a token."""
HOLD: Final = 1200.0
"""Seconds for which a connection must keep a token."""
LOOK_AGAIN: Final = 60.0
"""A lease in use is asked at least so often, in seconds: what a step of the clock can hide from it."""

_IDENTIFIER: Final = re.compile(r"[A-Z0-9]{10}", re.ASCII)
_IDENTIFIER_RULE: Final = "10 characters of A-Z and 0-9, as Apple shows it for the key"
_EXPECTED: Final = (
    'expected the .p8 file from Apple, an unencrypted P-256 private key in PEM ("BEGIN PRIVATE KEY")'
)


class ProviderToken:
    """One token.

    `value`: the `authorization` header, b"bearer " and the JWT: a secret. `iat`: UNIX seconds.
    `until`: the wall time from which a newer slot is in force.
    """

    __slots__ = ("iat", "until", "value")

    def __init__(self, value: bytes, iat: int, until: float) -> None:
        self.value = value
        self.iat = iat
        self.until = until

    def __repr__(self) -> str:
        return f"<ProviderToken iat={self.iat}>"


class ApnsKey:
    """A signing key for APNs, and the token that it has in force.

    `signatures`: how many tokens this process has signed.

    Args:
        key: the private key, on P-256; `from_file` and `from_pem` read one.
        key_id: as Apple shows it, 10 characters.
        team_id: as Apple shows it, 10 characters.
        topics: the bundle ids of a topic-specific key; None for one of the whole team.
        environment: "sandbox" or "production" for a key that is restricted to it; None for a key that is not.
        slot: seconds, see the module; every process of a fleet must have the same.
        margin: seconds, see the module; every process of a fleet must have the same.
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
        """Takes a key on P-256; `from_file` and `from_pem` read one.

        Raises:
            ConfigurationError: an identifier is not 10 characters of A-Z and 0-9, the scope is none of Apple's, or
                slot, margin and the 20 minutes of a connection are together longer than a token lives.
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
        # Python's own hash differs between processes, and the fleet must agree.
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
            path: of the file; or its content, PEM or base64 of it, as it may stand in a variable of the
                environment.
            key_id: see the class, as for all that follow but `name`.
            team_id: your team's, 10 characters.
            topics: the only ones that the key may push to; None for any.
            environment: the only one that the key is for; None for both.
            name: stands for the key in errors; None: the path, or "the key".
            slot: seconds that a token is used before the next one is made.
            margin: seconds that the clocks of a fleet may differ.

        Returns:
            The key.

        Raises:
            ConfigurationError: the file cannot be read or holds no such key, or an argument is wrong. The message never
                repeats the key.
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
        """The key in the content of a `.p8` file; `name` stands for it in errors.

        Args:
            pem: the content of the file.
            key_id: see the class, as for all that follow but `name`.
            team_id: your team's, 10 characters.
            topics: the only ones that the key may push to; None for any.
            environment: the only one that the key is for; None for both.
            name: stands for the key in errors.
            slot: seconds that a token is used before the next one is made.
            margin: seconds that the clocks of a fleet may differ.

        Returns:
            The key.

        Raises:
            ConfigurationError: it is no such key, or an argument is wrong.
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
        """The token in force at `now` (UNIX seconds); signed once for each slot."""
        current = self._current
        if current is None or not current.iat <= now < current.until:
            slot_start = self._slot_start(now)
            return self._mint(slot_start, slot_start)
        return current

    def renew(self, now: float) -> ProviderToken:
        """The token to go on with at `now` (UNIX seconds), after Apple has called the newest one expired.

        The token of a slot is replaced by one that is as young as may be, until the next slot's comes into force. Such a
        one stays: there is nothing better.
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

    Just before a request is sent, and at no other time, with `now` the wall time in UNIX seconds::

        if not lease.since <= now < lease.due:
            changed = lease.renew(now)

    `token`: the `ProviderToken` in use, None before the first call. `first`: the first that the connection used.
    `rejected`: set it when Apple has called `token` expired although it is the newest. `must_drain`: a new connection must
    replace this one, because no token would be accepted on it. `due`: the wall time from which `renew` must be called again, at most a minute ahead. `since`: the wall time of the last call; a `now` before it means that the
    clock has stepped back, which only `renew` can take into account.
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
        self._first_use = -math.inf  # of `token`, by a clock that never stepped back

    def renew(self, now: float) -> bytes | None:
        """The value of `authorization` when it changes with this request; None otherwise, or when it `must_drain`."""
        if now < self.since:
            # The step's size is known but for the time since the last call: a minute at most on a busy connection.
            self._first_use -= self.since - now
        self.since = now
        token, newest = self.token, self._key.token(now)
        self.must_drain = token is not None and (
            token.iat > now or (self.rejected and newest.iat != token.iat)
        )
        changed = None
        # The same comparison as for `due`: two roundings of one sum would leave an instant in which neither is true.
        if not self.must_drain and now >= self._first_use + self.hold:
            if token is None or newest.value != token.value:
                self._first_use = now
                changed = newest.value
            token = self.token = newest
            self.first = self.first or token
        assert token is not None  # the first call adopts one: its first use is infinitely long ago
        # Before both of these nothing can change, unless the clock steps: hence the minute.
        self.due = min(max(self._first_use + self.hold, token.until), now + LOOK_AGAIN)
        return changed

    def __repr__(self) -> str:
        return f"<TokenLease {self.token!r} due={self.due}>"


def _wrong(name: str) -> Wrong:
    return lambda predicate: ConfigurationError(f"{name} {predicate}; {_EXPECTED}")


def _checked_identifier(name: str, value: str) -> str:
    # The value itself is not shown: the key may have been given in its place.
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be {_IDENTIFIER_RULE}, not {type(value).__name__}")
    identifier = value.strip()  # a file or a variable often ends with a line break
    if not _IDENTIFIER.fullmatch(identifier):
        raise ConfigurationError(f"{name} must be {_IDENTIFIER_RULE}")
    return identifier


def _load_key(pem: str | bytes, wrong: Wrong) -> ec.EllipticCurvePrivateKey:
    if not isinstance(pem, str | bytes):
        raise wrong(f"must be str or bytes, not {type(pem).__name__}")
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
        # OpenSSL's own words say nothing that a user could act on.
        raise wrong("is damaged or of an unknown kind") from None
    return _check_key(key, wrong)


def _check_key(key: object, wrong: Wrong) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise wrong(f"holds a key of another kind ({key_algorithm(key)})")
    if not isinstance(key.curve, ec.SECP256R1):
        raise wrong(f"holds a key on the curve {key.curve.name}")
    return key
