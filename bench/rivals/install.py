"""An environment under `.bench/` for each rival and each sender, made at its first use."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from ..harness.stage import SCRATCH

LONGEST: Final = 1800
"""Seconds for one step of an installation; compiling takes longest, on a machine that is busy."""


class RivalUnavailable(Exception):
    """A rival cannot run here; the message says why."""


class Program(Protocol):
    """A program of one file, a rival's driver or a sender. `install`: its packages, with their versions."""

    @property
    def file(self) -> Path: ...
    @property
    def install(self) -> tuple[str, ...]: ...


def install(program: Program, folder: str = "rivals") -> list[str]:
    """The command that runs a program; missing packages are installed first.

    A file `sending` in the program's language, in the same folder, is part of the program.
    The environment has the name of the file without its suffix: two programs in one folder need two names.

    Args:
        program: what to run.
        folder: the part of `.bench` that its environment is kept in.

    Raises:
        RivalUnavailable: the toolchain, the network or a package is missing.
    """
    place = SCRATCH / folder / program.file.stem
    stamp = place / "installed"
    compiled = program.file.suffix in (".go", ".rs", ".java")
    sources = b"".join(file.read_bytes() for file in _sources(program)) if compiled else b""
    wanted = hashlib.sha256(" ".join(program.install).encode() + sources).hexdigest()
    fresh = not stamp.exists() or stamp.read_text() != wanted
    if fresh:
        _clear(place)
    command = _LANGUAGES[program.file.suffix](program, place, fresh)
    stamp.write_text(wanted)
    return command


def _clear(place: Path) -> None:
    """Empty the folder, except for what cargo has compiled: cargo knows which of it is stale."""
    place.mkdir(parents=True, exist_ok=True)
    for path in place.iterdir():
        if path.is_dir() and path.name != "target":
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def _sources(program: Program) -> list[Path]:
    """The program's file, then the file that programs in its language share."""
    shared = program.file.with_name(f"sending{program.file.suffix}")
    return [program.file, shared] if shared.exists() else [program.file]


def _python(program: Program, place: Path, fresh: bool) -> list[str]:
    python = str(place / "venv" / "bin" / "python")
    if fresh:
        # Its own pip would take longer to install than most rivals.
        _do([sys.executable, "-m", "venv", "--without-pip", str(place / "venv")], place)
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-compile"]
        _do([*pip, "--quiet", "--disable-pip-version-check", *program.install], place)
    return [python, str(program.file)]


def _node(program: Program, place: Path, fresh: bool) -> list[str]:
    _need("node")
    if fresh and program.install:
        _need("npm")
        _do(["npm", "init", "--yes"], place)
        _do(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *program.install], place)
    # Node looks for packages beside the file that asks for them.
    for file in _sources(program):
        shutil.copy(file, place)
    return ["node", str(place / program.file.name)]


def _go(program: Program, place: Path, fresh: bool) -> list[str]:
    if fresh:
        _need("go")
        for file in _sources(program):
            shutil.copy(file, place)
        _do(["go", "mod", "init", "rival"], place)
        for package in program.install:
            _do(["go", "get", package], place)
        _do(["go", "mod", "tidy"], place)
        _do(["go", "build", "-o", "driver", "."], place)
    return [str(place / "driver")]


def _rust(program: Program, place: Path, fresh: bool) -> list[str]:
    if fresh:
        _need("cargo")
        _do(["cargo", "init", "--quiet", "--name", "rival", "--vcs", "none"], place)
        main, *shared = _sources(program)
        shutil.copy(main, place / "src" / "main.rs")
        for file in shared:
            shutil.copy(file, place / "src")
        for package in program.install:
            name, _, features = package.partition("+")
            more = ["--features", features] if features else []
            _do(["cargo", "add", "--quiet", name, *more], place)
        _point(program, place)
        _do(["cargo", "build", "--quiet", "--release"], place)
    return [str(place / "target" / "release" / "rival")]


def _point(program: Program, place: Path) -> None:
    """Build crates with a fixed address from a copy, in which the driver's variables replace the address.

    The driver says where, in lines `// replace: CRATE FILE OLD ==> NEW`, with ` ==> ` between the two.
    """
    lines = program.file.read_text().splitlines()
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


def _java(program: Program, place: Path, fresh: bool) -> list[str]:
    path_file = place / "classpath"
    if fresh:
        for tool in ("java", "javac", "mvn"):
            _need(tool)
        needed = "".join(_DEPENDENCY.format(*package.split(":")) for package in program.install)
        (place / "pom.xml").write_text(_POM.format(needed))
        goal = "dependency:build-classpath"
        _do(["mvn", "--quiet", "--batch-mode", goal, f"-Dmdep.outputFile={path_file}"], place)
        _do(["javac", "-cp", path_file.read_text(), "-d", str(place), *map(str, _sources(program))], place)
    return ["java", "-cp", f"{place}:{path_file.read_text()}", program.file.stem]


def _script(interpreter: str) -> Callable[[Program, Path, bool], list[str]]:
    """Programs that need only commands, which `install` names as `command:NAME`.

    A version behind `@` is the one that was tried; it is not required.
    """

    def command(program: Program, place: Path, fresh: bool) -> list[str]:
        for package in program.install:
            _need(package.removeprefix("command:").partition("@")[0])
        return [interpreter, str(program.file)]

    return command


_LANGUAGES: Final[dict[str, Callable[[Program, Path, bool], list[str]]]] = {
    ".py": _python,
    ".mjs": _node,
    ".go": _go,
    ".rs": _rust,
    ".java": _java,
    ".php": _script("php"),
    ".sh": _script("bash"),
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
