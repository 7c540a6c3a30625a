"""The tree of exceptions is the one that the documentation draws, and each says what it promises."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

from pushcore import errors
from pushcore.errors import ClosedError, ConfigurationError, PushcoreError
from pushcore.queue import errors as queue_errors


def drawn(module: ModuleType) -> dict[str, str | None]:
    """Each exception in the tree of a module's docstring, and the one it hangs on."""
    found: dict[str, str | None] = {}
    path: list[str] = []
    for line in (module.__doc__ or "").splitlines():
        match = re.match(r"((?:[│ ]   )*)(?:[├└]── )?([A-Z]\w+)(?: |$)", line)
        if match is None or not (line[0] in "├└│ " or match[2].endswith("Error")):
            continue
        depth = len(match[1]) // 4 + ("── " in line)
        del path[depth:]
        found[match[2]] = path[-1] if path else None
        path.append(match[2])
    return found


@pytest.mark.parametrize(
    ("module", "root", "elsewhere"),
    [(errors, PushcoreError, {"QueueError"}), (queue_errors, queue_errors.QueueError, set())],
)
def test_the_tree_in_the_docstring_is_the_tree(
    module: ModuleType, root: type[Exception], elsewhere: set[str]
) -> None:
    tree = drawn(module)
    defined = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, root)
    }
    assert set(tree) - elsewhere == set(defined)
    for name, value in defined.items():
        if value is not root:
            assert tree[name] in [base.__name__ for base in value.__bases__], name


def test_errors_are_caught_as_their_builtin_kinds() -> None:
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ClosedError, RuntimeError)
    assert issubclass(errors.ResponseTimeout, TimeoutError)


def test_a_broken_run_has_the_providers_word() -> None:
    error = errors.BreakerOpen("BadTopic: correct the topic", "BadTopic")
    assert (str(error), error.reason) == ("BadTopic: correct the topic", "BadTopic")
