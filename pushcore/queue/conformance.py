"""Deprecated: import `CHECKS` from `pushcore.queue.brokers.conformance`."""

from __future__ import annotations

from .brokers.conformance import CHECKS as CHECKS
