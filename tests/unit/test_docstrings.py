"""Every public name says what it is; where there is more than one parameter, each has its line in Args.

A function of several parameters that returns something has Returns, and what a body raises by itself is in Raises. The reference is made of it.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

import pushcore
from pushcore import telemetry
from pushcore.metrics import merge

OWN_WAYS: Final = {"Journal": "create", "Ledger": "create"}
"""Classes that one of their methods makes, whose constructor is no part of the API."""
INTERNAL: Final = {"NotImplementedError", "AttributeError", "ConnectionResetError"}
SOURCES: Final = {"APNS_REASONS", "FCM_REASONS", "QUEUE_CHECKS"}
"""Constants; the string below their definition is their text."""


def documented() -> Iterator[tuple[str, Any]]:
    for name in pushcore.__all__:
        value = getattr(pushcore, name)
        if getattr(value, "__module__", "").startswith("pushcore."):
            yield name, value
    yield from ((name, value) for name, value in vars(telemetry).items() if is_own(name, value))
    yield "merge", merge


def is_own(name: str, value: Any) -> bool:
    """Whether it is a public class or function of `telemetry`."""
    return name[0] != "_" and getattr(value, "__module__", "") == telemetry.__name__


def functions() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Each public function and method with its docstring; a constructor has that of its class before its own."""
    for name, value in documented():
        if inspect.isfunction(value):
            yield name, value, inspect.cleandoc(value.__doc__ or "")
        elif inspect.isclass(value):
            plain = not issubclass(value, BaseException) and not dataclasses.is_dataclass(value)
            if (
                plain
                and "__init__" in vars(value)
                and name not in OWN_WAYS
                and not getattr(value, "_is_protocol", False)
            ):
                own = inspect.cleandoc(value.__init__.__doc__ or "")
                yield name, value.__init__, f"{inspect.cleandoc(value.__doc__ or '')}\n\n{own}"
            for key, member in vars(value).items():
                function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                told = name != "Listener" and hasattr(pushcore.Listener, key)  # `Listener` says it
                if inspect.isfunction(function) and not key.startswith("_") and not told:
                    yield f"{name}.{key}", function, inspect.cleandoc(function.__doc__ or "")


FUNCTIONS: Final = [pytest.param(*each[1:], id=each[0]) for each in functions()]


def section(doc: str, name: str) -> str:
    """What stands under this heading."""
    found = re.findall(rf"^{name}:\n((?:[ ]+.*\n?|\n)*)", doc, re.MULTILINE)
    return "\n".join(found)


def parameters(function: Callable[..., Any]) -> list[str]:
    return [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.name not in ("self", "cls")
        and not each.name.startswith("_")
        and each.kind is not each.VAR_POSITIONAL
    ]


def raised(function: Callable[..., Any]) -> set[str]:
    """The exceptions of its own body, not those of functions within it."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    found: set[str] = set()

    def look(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if (
                isinstance(child, ast.Raise)
                and isinstance(child.exc, ast.Call)
                and isinstance(child.exc.func, ast.Name)
            ):
                found.add(child.exc.func.id)
            look(child)

    look(tree)
    return {
        name for name in found if name.endswith(("Error", "Conflict")) or name in pushcore.__all__
    } - INTERNAL


@pytest.mark.parametrize(("name", "value"), list(documented()))
def test_a_public_name_has_a_docstring_of_its_own(name: str, value: Any) -> None:
    doc = value.__doc__
    assert doc, name
    assert not doc.startswith(f"{name}("), "a dataclass without a docstring has its signature"


@pytest.mark.parametrize(("function", "doc"), FUNCTIONS)
def test_each_of_several_parameters_has_its_line(function: Callable[..., Any], doc: str) -> None:
    assert doc
    names = parameters(function)
    if len(names) > 1:
        args = section(doc, "Args")
        assert [name for name in names if not re.search(rf"^ +{name}: \S", args, re.MULTILINE)] == []
        returns = inspect.signature(function).return_annotation
        if returns not in (None, "None", "Self", "NoReturn", inspect.Signature.empty):
            assert section(doc, "Returns") or section(doc, "Yields") or "contextlib" in str(returns)


@pytest.mark.parametrize(("function", "doc"), FUNCTIONS)
def test_exceptions_that_a_body_raises_are_in_raises(function: Callable[..., Any], doc: str) -> None:
    assert [name for name in raised(function) if name not in section(doc, "Raises")] == []


def test_the_constants_are_there() -> None:
    assert set(pushcore.__all__) >= SOURCES
    assert len(FUNCTIONS) > 150
