"""One fault: what goes wrong and when, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fakeservers.faults.actions import (
    ENDING,
    ON_CONNECTION,
    Action,
    Answer,
    ChangeAccessTokens,
    Connect,
    read_action,
    write_action,
)
from fakeservers.faults.answers import refusal_of
from fakeservers.faults.reading import FaultError, flag, given, read, show, text, write
from fakeservers.faults.when import When

MAX_ACTIONS = 20

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that goes wrong. `what` may be one action or several that happen together."""

    id: str = ""
    """Letters, digits, `.`, `_`, `-`, 64 at most; when empty, the plan assigns one."""
    name: str = ""
    """A title, for display."""
    description: str = ""
    enabled: bool = True
    when: When = field(default_factory=When)
    what: Action | tuple[Action, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """`what` as a tuple."""
        return self.what if isinstance(self.what, tuple) else (self.what,)

    @property
    def on_connection(self) -> bool:
        """Whether it acts on a connection from its beginning, rather than on requests."""
        return any(isinstance(action, ON_CONNECTION) for action in self.actions)

    @classmethod
    def from_dict(cls, table: Any) -> Fault:
        """The fault that a table of a plan describes.

        Raises:
            FaultError: it does not describe one.
        """
        if not isinstance(table, Mapping):
            raise FaultError(f"a fault is {show(table)}, expected a table")
        subject = f"fault {show(table['id'])}" if table.get("id") else "a fault"
        try:
            return _read_fault(table)
        except FaultError as error:
            raise error.of(subject) from None

    def to_dict(self) -> dict[str, Any]:
        """As a table for `from_dict`."""
        table: dict[str, Any] = {"id": self.id}
        for name in ("name", "description"):
            if getattr(self, name):
                table[name] = getattr(self, name)
        if not self.enabled:
            table["enabled"] = False
        when = write(self.when)
        if when:
            table["when"] = when
        actions = [write_action(action) for action in self.actions]
        table["what"] = actions[0] if len(actions) == 1 else actions
        return table


def _fault_id(value: Any) -> str:
    if not isinstance(value, str) or (value and _ID.fullmatch(value) is None):
        raise ValueError("1 to 64 letters, digits, dots, _ and -")
    return value


ANYTHING = {"check": lambda value: value, "seconds": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Body:
    """The keys of a fault."""

    id: str = given(_fault_id, "")
    name: str = given(text(200), "")
    description: str = given(text(2000), "")
    enabled: bool = given(flag, True)
    when: Any = field(default=None, metadata=ANYTHING)
    what: Any = field(metadata=ANYTHING)


def _read_fault(table: Mapping[str, Any]) -> Fault:
    body = read(_Body, table, "it", "")
    when = When() if body.when is None else read(When, body.when, "when")
    listing = body.what if isinstance(body.what, list | tuple) else [body.what]
    if not 1 <= len(listing) <= MAX_ACTIONS:
        raise FaultError(f"what has {len(listing)} actions, expected 1 to {MAX_ACTIONS}", key="what")
    actions = tuple(read_action(table) for table in listing)
    _check_together(when, actions)
    return Fault(
        id=body.id,
        name=body.name,
        description=body.description,
        enabled=body.enabled,
        when=when,
        what=actions[0] if len(actions) == 1 else actions,
    )


def _check_together(when: When, actions: tuple[Action, ...]) -> None:
    """Check that conditions and actions go together."""
    if sum(isinstance(action, ENDING) for action in actions) > 1:
        raise FaultError("what ends the request twice, expected one of its actions to do so", key="what")
    on_connection = {isinstance(action, ON_CONNECTION) for action in actions}
    if len(on_connection) > 1:
        raise FaultError("what mixes actions on connections with actions on requests", key="what")
    if on_connection == {True}:
        for name in ("token", "path", "errors", "per_connection"):
            if getattr(when, name):
                raise FaultError(
                    f"when.{name} is for requests, expected conditions of a connection: "
                    "provider, connection, connection_every, share, nth, every, limit, after, until, period, lasting",
                    key=name,
                )
        if "oauth" in when.provider:
            raise FaultError(
                "when.provider is oauth, expected fcm: the token endpoint shares its connections",
                key="provider",
            )
    if any(isinstance(action, Connect) and action.how == "refuse" for action in actions):
        _check_refusal(when, actions)
    _check_times(when)
    for action in actions:
        if isinstance(action, Answer):
            problem = refusal_of(action, when.provider)
            if problem:
                raise FaultError(problem, key="reason")
        if isinstance(action, ChangeAccessTokens) and "apns" in when.provider:
            raise FaultError(
                "when.provider has apns, which has no access tokens, expected fcm or oauth", key="provider"
            )


def _check_refusal(when: When, actions: tuple[Action, ...]) -> None:
    """Check a fault that refuses connections: these have no number yet."""
    if len(actions) > 1:
        raise FaultError("what does more than refuse, expected nothing else", key="what")
    for name in ("connection", "connection_every", "nth", "every", "limit", "share"):
        if getattr(when, name) != getattr(When(), name):
            raise FaultError(
                f"when.{name} cannot be known of what is refused, expected times and provider alone", key=name
            )


def _check_times(when: When) -> None:
    if when.period and not 0 < when.lasting <= when.period:
        raise FaultError(
            f"when.lasting is {when.lasting:g}, expected more than 0 and {when.period:g} at most",
            key="lasting",
        )
    if when.lasting and not when.period:
        raise FaultError("when.lasting needs a period", key="lasting")
    if when.until and when.until <= when.after:
        raise FaultError(f"when.until is {when.until:g}, expected more than {when.after:g}", key="until")
