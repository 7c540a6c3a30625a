"""Each rival in an environment of its own under `.bench/rivals/`, made when it is first asked for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from ..constant import SCRATCH
from .catalogue import Rival

LONGEST: Final = 600
"""Seconds for one step of an installation; compiling takes longest."""


class RivalUnavailable(Exception):
    """A rival cannot be had here; the message says why."""


def install(rival: Rival) -> list[str]:
    """The command that runs its driver; what it needs is installed if it is not yet.

    Raises `RivalUnavailable` when the toolchain, the network or a package is missing.
    """
    place = SCRATCH / "rivals" / rival.file.stem
    stamp = place / "installed"
    driver = rival.file.read_bytes()
    compiled = rival.file.suffix in (".go", ".rs", ".java")
    wanted = hashlib.sha256(" ".join(rival.install).encode() + (driver if compiled else b"")).hexdigest()
    fresh = not stamp.exists() or stamp.read_text() != wanted
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
    command = _LANGUAGES[rival.file.suffix](rival, place, fresh)
    stamp.write_text(wanted)
    return command


def _python(rival: Rival, place: Path, fresh: bool) -> list[str]:
    python = str(place / "venv" / "bin" / "python")
    if fresh:
        # Its own pip would take longer to install than most rivals.
        _do([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], place)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile"]
        _do([*pip, "--quiet", "--disable-pip-version-check", *rival.install], place)
    return [python, str(rival.file)]


def _node(rival: Rival, place: Path, fresh: bool) -> list[str]:
    _need("node")
    if fresh and rival.install:
        _need("npm")
        _do(["npm", "init", "--yes"], place)
        _do(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *rival.install], place)
    # Node looks for packages beside the file that asks for them.
    shutil.copy(rival.file, place)
    return ["node", str(place / rival.file.name)]


def _go(rival: Rival, place: Path, fresh: bool) -> list[str]:
    if fresh:
        _need("go")
        shutil.copy(rival.file, place / "main.go")
        _do(["go", "mod", "init", "rival"], place)
        for package in rival.install:
            _do(["go", "get", package], place)
        _do(["go", "mod", "tidy"], place)
        _do(["go", "build", "-o", "driver", "."], place)
    return [str(place / "driver")]


def _rust(rival: Rival, place: Path, fresh: bool) -> list[str]:
    if fresh:
        _need("cargo")
        _do(["cargo", "init", "--quiet", "--name", "rival", "--vcs", "none"], place)
        shutil.copy(rival.file, place / "src" / "main.rs")
        for package in rival.install:
            name, _, features = package.partition("+")
            more = ["--features", features] if features else []
            _do(["cargo", "add", "--quiet", name, *more], place)
        _point(rival, place)
        _do(["cargo", "build", "--quiet", "--release"], place)
    return [str(place / "target" / "release" / "rival")]


def _point(rival: Rival, place: Path) -> None:
    """Crates that know Apple's address alone are built from a copy in which the driver's variables stand for it.

    The driver says where, in lines `// replace: CRATE FILE OLD ==> NEW`, with ` ==> ` between the two.
    """
    lines = rival.file.read_text().splitlines()
    marks = [line.removeprefix("// replace: ") for line in lines if line.startswith("// replace: ")]
    if marks:
        _do(["cargo", "vendor", "--quiet", "vendor"], place)
    for mark in marks:
        crate, file, change = mark.split(maxsplit=2)
        old, _, new = change.replace("\\n", "\n").partition(" ==> ")
        source = place / "vendor" / crate / file
        text = source.read_text()
        if old not in text:
            raise RivalUnavailable(f"{crate} no longer has {old!r}")
        source.write_text(text.replace(old, new))
    for crate in sorted({mark.split()[0] for mark in marks}):
        copied = place / "own" / crate
        shutil.copytree(place / "vendor" / crate, copied)
        (copied / ".cargo-checksum.json").unlink()
        manifest = place / "Cargo.toml"
        manifest.write_text(
            f'{manifest.read_text()}\n[patch.crates-io]\n{crate} = {{ path = "own/{crate}" }}\n'
        )


_POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>rival</groupId><artifactId>rival</artifactId><version>1</version><dependencies>{}</dependencies></project>
"""
_DEPENDENCY: Final = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)


def _java(rival: Rival, place: Path, fresh: bool) -> list[str]:
    path_file = place / "classpath"
    if fresh:
        for tool in ("java", "javac", "mvn"):
            _need(tool)
        needed = "".join(_DEPENDENCY.format(*package.split(":")) for package in rival.install)
        (place / "pom.xml").write_text(_POM.format(needed))
        goal = "dependency:build-classpath"
        _do(["mvn", "--quiet", "--batch-mode", goal, f"-Dmdep.outputFile={path_file}"], place)
        _do(["javac", "-cp", path_file.read_text(), "-d", str(place), str(rival.file)], place)
    return ["java", "-cp", f"{place}:{path_file.read_text()}", rival.file.stem]


_LANGUAGES: Final[dict[str, Callable[[Rival, Path, bool], list[str]]]] = {
    ".py": _python,
    ".mjs": _node,
    ".go": _go,
    ".rs": _rust,
    ".java": _java,
}


def _need(tool: str) -> None:
    if shutil.which(tool) is None:
        raise RivalUnavailable(f"{tool} is not installed")


def _do(command: Sequence[str], place: Path) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=place,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RivalUnavailable(f"{' '.join(command[:3])} took longer than {LONGEST} s") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RivalUnavailable(
            f"{' '.join(command[:3])} failed: {said[-1][:200] if said else 'it said nothing'}"
        )
