"""The engine of every campaign in this room is a scripted one."""

from __future__ import annotations

import pytest

from pushcore.cli.run import campaign

from .scripted import ScriptedEngine, accepted


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> type[ScriptedEngine]:
    """The class of the engines that campaigns make; its `answer` can be set."""
    monkeypatch.setattr(campaign, "PushEngine", ScriptedEngine)
    monkeypatch.setattr(campaign, "relax_collector", lambda: None)  # which is for a process of its own
    monkeypatch.setattr(ScriptedEngine, "answer", staticmethod(accepted))
    monkeypatch.setattr(ScriptedEngine, "made", [])
    return ScriptedEngine
