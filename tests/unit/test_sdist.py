"""The sdist is whole: who unpacks it can run `make test` there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).parents[2]


def test_every_tracked_file_is_in_the_sdist() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: an unpacked sdist knows no more than itself")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    held = {each.distribution_path for each in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert "Makefile" in tracked
    assert tracked - held == set()
