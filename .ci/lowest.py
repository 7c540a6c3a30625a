"""Print requirements for pip: each library that pyproject.toml asks for in the lowest version that it allows, and test tools.

pip itself always takes the highest, so nobody would notice a lower bound that is false. `make lowest` tests with these.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
TOOLS = ("bench", "dev")
"""Extras of those who work on pushcore: their libraries may be new, for they are nobody else's."""
TIED = {"opentelemetry-sdk": "opentelemetry-api", "s3fs": "fsspec"}
"""Tools that fit one version of a library of ours alone, so that they must be as old."""
LEFT_OUT = (
    "firebase-admin",
    "matplotlib",
    "memray",
    "mypy",
    "ruff",
    "schemathesis",
    "selenium",
    "twine",
    "types-psutil",
)
"""Tools that ask for newer libraries than pushcore does (firebase-admin, memray, schemathesis), or that the tests chosen do not need."""


def lowest(requirement: str) -> str:
    """`name>=version; marker` as `name==version; marker`."""
    return requirement.replace(">=", "==", 1)


def name_of(requirement: str) -> str:
    """The library's name."""
    return re.split(r"[^\w-]", requirement)[0]


def main() -> None:
    """Print a line for each library."""
    extras = PROJECT["optional-dependencies"]
    pinned = [lowest(each) for each in PROJECT["dependencies"]]
    pinned += [lowest(each) for extra in extras if extra not in (*TOOLS, "docs") for each in extras[extra]]
    versions = {name_of(each): each.partition(";")[0].partition("==")[2].strip() for each in pinned}
    tools = {name_of(each): each for extra in TOOLS for each in extras[extra]}
    for name in ("pushcore", *LEFT_OUT):
        del tools[name]
    for name, library in TIED.items():
        tools[name] = f"{name}=={versions[library]}"
    print("\n".join([*pinned, *tools.values()]))


if __name__ == "__main__":
    main()
