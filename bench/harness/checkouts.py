"""Commits to measure: each gets a worktree and a Python environment under `.bench/ab/`, at its first use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from .stage import ROOT, SCRATCH, CannotMeasure

LONGEST: Final = 900.0  # seconds for one step of an installation
NAME: Final = 12
"""Digits of a hash in names. All paths have the same length, so that no process has a longer environment."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A commit that can be run.

    `python`: the interpreter of its environment. `pushcore`: the command line program, as words.
    """

    name: str
    root: Path
    python: str
    pushcore: tuple[str, ...]

    def environment(self, seed: int) -> dict[str, str]:
        """The environment variables of its processes, with the seed of their hashes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return kept | {"PYTHONPATH": str(self.root), "PYTHONHASHSEED": str(seed)}


def resolve(revision: str) -> str:
    """The full hash of a revision's commit. Raises `CannotMeasure` if there is none."""
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode:
        raise CannotMeasure(done.stderr.strip() or f"git knows no commit {revision!r}")
    return done.stdout.strip()


def has_uncommitted_changes() -> bool:
    """Whether the running tree differs from its commit."""
    return bool(_git("status", "--porcelain").stdout)


def checkout(console: Console, commit: str) -> Checkout:
    """The commit with this full hash, in its own worktree and environment; both are kept for the next run.

    Raises:
        CannotMeasure: the worktree cannot be made, or the installation fails.
    """
    place = SCRATCH / "ab" / commit[:NAME]
    tree, environment = place / "tree", place / "env"
    if not _is_pristine(tree, commit):
        _add_worktree(tree, commit)
    python = environment / "bin" / "python"
    stamp, wanted = place / "installed", f"{sys.base_prefix} {sys.version}"
    if not (stamp.exists() and stamp.read_text() == wanted and python.exists()):
        console.print(
            f"installing {commit[:NAME]} into an environment of its own: a minute or two", markup=False
        )
        stamp.unlink(missing_ok=True)
        shutil.rmtree(environment, ignore_errors=True)
        # Its own pip would take longer to install than most packages.
        _do("the environment", [sys.executable, "-m", "venv", "--without-pip", str(environment)], tree)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        pip += ["--disable-pip-version-check", "-c", "requirements.lock", "-e", ".[fakeservers,bench]"]
        _do("the installation", pip, tree)
        stamp.write_text(wanted)
    return Checkout(commit[:NAME], tree, str(python), (str(environment / "bin" / "pushcore"),))


def _is_pristine(tree: Path, commit: str) -> bool:
    """Whether the worktree exists, has this commit checked out, and is unchanged."""
    if not (tree / ".git").exists():
        return False
    head = _git("rev-parse", "HEAD", directory=tree)
    changes = _git("status", "--porcelain", directory=tree)
    return head.stdout.strip() == commit and changes.returncode == 0 and not changes.stdout


def _add_worktree(tree: Path, commit: str) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    # By force, because git may still have a worktree on record whose folder was deleted.
    done = _git("worktree", "add", "--force", "--detach", str(tree), commit)
    if done.returncode:
        raise CannotMeasure(f"git cannot make a worktree of {commit[:NAME]}: {done.stderr.strip()[-500:]}")


def _git(*words: str, directory: Path | None = None) -> subprocess.CompletedProcess[str]:
    if shutil.which("git") is None:
        raise CannotMeasure("git is missing: commits are measured in worktrees")
    return subprocess.run(["git", *words], cwd=directory or ROOT, capture_output=True, text=True, check=False)


def _do(what: str, command: Sequence[str], directory: Path) -> None:
    """One step of an installation. Raises `CannotMeasure` with the end of its output."""
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotMeasure(f"{what} of {directory.parent.name} took longer than {LONGEST:.0f} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-500:]
        raise CannotMeasure(f"{what} of {directory.parent.name} failed: {said}")
