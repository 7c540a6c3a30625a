"""Imports that a release has documented keep working after their modules have moved."""

from __future__ import annotations

from importlib import import_module

import pytest

MOVED = [
    ("pushcore.engine.journal", "pushcore.journal", "Journal"),
    ("pushcore.engine.journal", "pushcore.journal", "JournalView"),
    ("pushcore.engine.journal", "pushcore.journal", "Outcome"),
    ("pushcore.engine.journal", "pushcore.journal", "Source"),
    ("pushcore.engine.journal", "pushcore.journal", "Status"),
    ("pushcore.engine.journal", "pushcore.journal", "id_prefix"),
    ("pushcore.engine.journal", "pushcore.journal", "push_id"),
    ("pushcore.queue.conformance", "pushcore.queue.brokers.conformance", "CHECKS"),
]


@pytest.mark.parametrize(("old", "new", "name"), MOVED)
def test_old_and_new_module_have_the_same_object(old: str, new: str, name: str) -> None:
    assert getattr(import_module(old), name) is getattr(import_module(new), name)
