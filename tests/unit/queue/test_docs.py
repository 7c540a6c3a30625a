"""The Python of docs/guides/queue.md: it is Python, what it imports exists, and so does what it calls."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from pushcore.queue.brokers.conformance import CHECKS
from pushcore.queue.brokers.memory import MemoryQueue
from pushcore.queue.brokers.nats import NatsQueue
from pushcore.queue.brokers.redis import RedisQueue
from pushcore.queue.campaign import CampaignInfo
from pushcore.queue.chunk import Chunk
from pushcore.queue.coordinator import Coordinator
from pushcore.queue.ledger import Ledger
from pushcore.queue.protocol import Broker
from pushcore.queue.worker import Worker

PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "queue.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
OBJECTS = {"coordinator": Coordinator, "ledger": Ledger, "worker": Worker, "chunk": Chunk}


@pytest.mark.parametrize("block", BLOCKS)
def test_examples_are_python_and_what_they_import_exists(block: str) -> None:
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "CampaignInfo"
        ):
            names = {keyword.arg for keyword in node.keywords}
            assert names <= set(inspect.signature(CampaignInfo).parameters)


def test_methods_that_the_page_calls_exist() -> None:
    found = re.findall(r"\b(coordinator|ledger|worker|chunk)\.([a-z_]+)\(", PAGE)
    assert len(found) > 8
    for name, method in found:
        assert callable(getattr(OBJECTS[name], method)), f"{name}.{method}"


@pytest.mark.parametrize("adapter", [MemoryQueue, RedisQueue, NatsQueue])
def test_adapters_have_every_method_of_the_protocol(adapter: type) -> None:
    for name, wanted in inspect.getmembers(Broker, inspect.isfunction):
        if name.startswith("_"):
            continue
        has = getattr(adapter, name)
        assert list(inspect.signature(has).parameters) == list(inspect.signature(wanted).parameters), name


def test_every_check_is_in_the_suite_and_says_what_it_is_for() -> None:
    import pushcore.queue.brokers.conformance as module

    public = {
        function
        for name, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if not name.startswith("_") and function.__module__ == module.__name__
    }
    assert public == set(CHECKS)
    assert all(check.__doc__ for check in CHECKS)
