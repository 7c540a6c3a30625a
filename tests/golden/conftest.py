"""What the golden tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakeservers import Certificates, FakeApns, FakeFcm, InThread

pytest.register_assert_rewrite("tests.golden.judge", "tests.golden.pushes", "tests.golden.talk")

from tests.golden.command_line import CommandLine, plain_surroundings  # noqa: E402  # behind what rewrites asserts


@pytest.fixture
def pushcore(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[CommandLine]:
    """The command line in a directory of this test alone."""
    with plain_surroundings(tmp_path, monkeypatch):
        yield CommandLine(tmp_path, capfd)


@pytest.fixture(scope="session")
def golden_certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of the fakes."""
    return Certificates.create(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module")
def apns(golden_certs: Certificates) -> Iterator[FakeApns]:
    """A fake APNs on a thread; its attributes that tell where it is may be read from here."""
    with InThread(lambda: FakeApns(certs=golden_certs)) as running:
        yield running.fake


@pytest.fixture(scope="module")
def fcm(golden_certs: Certificates) -> Iterator[FakeFcm]:
    """A fake FCM, in the same way."""
    with InThread(lambda: FakeFcm(certs=golden_certs)) as running:
        yield running.fake
