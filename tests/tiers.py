"""Which tier a test is of, what it shares with others, and how far the long ones look. docs/inside/testing.md is about it.

A test without a mark is run by everybody. `slow`: not while typing. `needs("nginx")`: a program that pip does not
install, so that it is of the tier `ci`. `weekly`: that tier alone. `grows`: every tier, and weekly with larger numbers.
"""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

WEEKLY: Final = os.environ.get("PUSHCORE_TESTS") == "weekly"
"""Whether `make weekly` runs."""

UNIT: Final = ("tests/unit/", "tests/protocol/", "tests/golden/")
"""The folders of `make unit`."""

PACKAGES: Final = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "h2load": "nghttp2-client",
    "nghttp": "nghttp2-client",
    "nghttpd": "nghttp2-server",
    "nginx": "nginx-light",
    "node": "nodejs",
    "npm": "npm",
    "openssl": "openssl",
    "php": "php-cli",
    "redis-server": "redis-server",
    "unshare": "util-linux",
    "valgrind": "valgrind",
}
"""What Debian calls the packages of these programs; `.ci/run` installs them."""
TOOLCHAINS: Final = {
    "cargo": "cargo",
    "go": "golang-go",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "keytool": "default-jdk-headless",
    "mvn": "maven",
}
"""The same of compilers, which `.ci/run` takes only where they are."""

MARKS: Final = (
    "slow: takes a second or more, or starts processes; `make unit` leaves it out",
    "needs(program, ...): these programs that pip does not install, and so the tier `ci`; skipped where one is missing",
    "ci: a promise at its full size, or needs Debian packages or a toolchain; `make interop`, and so `make ci`",
    "weekly: only `make weekly` runs it",
    "grows: in every tier, and once more in `make weekly` with the larger numbers of `tests.tiers.budget`",
    "deadline(seconds): cancel this asynchronous test after so long",
    "leaves_sockets: it runs foreign code that leaves sockets to the garbage collector, which is called after it",
    "uvloop: run this asynchronous test on uvloop instead of asyncio's loop",
)

_CALM = (HealthCheck.too_slow, HealthCheck.data_too_large)
for _name, _examples in {"unit": 20, "usual": 100, "ci": 1000, "weekly": 20_000}.items():
    # No deadline: how long an example takes is the machine's affair, and it may be busy.
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=_CALM, print_blob=_examples > 100
    )
settings.register_profile(  # for `tests.mutants`: the same examples for each mutant, and the first failure is enough
    "mutants",
    max_examples=20,
    deadline=None,
    suppress_health_check=_CALM,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "weekly" if WEEKLY else "usual"))


def budget(usual: int, weekly: int) -> int:
    """The size of something long: `usual`, but for `make weekly`. Mark the test with `grows`."""
    return weekly if WEEKLY else usual


def sort(item: pytest.Item) -> None:
    """Give a test that was found the marks that follow from its own."""
    for marker in item.iter_markers("needs"):
        item.add_marker(pytest.mark.ci)
        for program in marker.args:
            if shutil.which(program) is None:
                package = (PACKAGES | TOOLCHAINS).get(program)
                where = f": Debian's package {package}" if package else ", which .ci/run installs"
                item.add_marker(pytest.mark.skip(reason=f"{program} is missing{where}"))
                break
    if item.get_closest_marker("xdist_group") is None and (group := _group(item)) is not None:
        item.add_marker(pytest.mark.xdist_group(group))


def keep_groups(items: list[pytest.Item]) -> None:
    """Put the group that pytest-xdist has added to an item's id where pytest reads it.

    pytest-xdist 3.8 writes it to `_nodeid`, which pytest 9.2 replaced by `_id`: groups were ignored without a warning
    (https://github.com/pytest-dev/pytest-xdist/issues/1386).
    """
    for item in items:
        grouped = vars(item).get("_nodeid")
        if grouped is not None and grouped != item.nodeid:
            item._id = type(item._id).parse(grouped)


def _group(item: pytest.Item) -> str | None:
    """The tests of one group run in one process, one after the other. None: a test of no group runs in any process.

    Tests with a fixture of their module stay together, so that a server or a browser is started once. The fast tests of a
    file do too: what pytest-xdist does for each test grows with the number of groups.
    """
    if item.nodeid.startswith(UNIT) and not any(map(item.get_closest_marker, ("slow", "ci", "weekly"))):
        return item.nodeid.split("::")[0]
    fixtures = getattr(item, "_fixtureinfo", None)
    definitions = fixtures.name2fixturedefs.values() if fixtures is not None else ()
    own = (each for found in definitions for each in found)
    if any(each.scope in ("module", "class") and each.baseid for each in own):
        return item.nodeid.split("::")[0]
    return None
