"""Clients in unit tests share their TLS contexts: each would read the system's authorities again."""

from __future__ import annotations

import functools

import pytest

import pushcore.apns.dispatcher
import pushcore.fcm.dispatcher
import pushcore.fcm.legacy
from pushcore.http2.tls import client_context

_context = functools.cache(client_context)


@pytest.fixture(autouse=True)
def contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One context for each kind of arguments; what raises is not kept."""
    for module in (pushcore.apns.dispatcher, pushcore.fcm.dispatcher, pushcore.fcm.legacy):
        monkeypatch.setattr(module, "client_context", _context)
