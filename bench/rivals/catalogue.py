"""Reads the first lines of the drivers, which describe them.

A driver is one file in `drivers/`, in Python, JavaScript, Go, Rust or Java, that begins with comments like these:

    # rival: aioapns
    # provider: apns
    # install: aioapns==4.0
    # streams: 1000
    # source: the page of its documentation that shows this use

`install` names packages of PyPI, npm, the Go proxy, crates.io or Maven Central, by the language. A driver gets its work
in environment variables that begin with RIVAL_ (see `drivers/measure.py`). It sends one notification that does not count,
then COUNT of them as its library's documentation says, and prints `{"rate", "cpu_us", "ok", "version"}` on one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DRIVERS: Final = Path(__file__).parent / "drivers"
LANGUAGES: Final = {".py": "Python", ".mjs": "Node", ".go": "Go", ".rs": "Rust", ".java": "Java"}
HELPERS: Final = frozenset({"measure.py"})


@dataclass(frozen=True, slots=True)
class Rival:
    """One driver. `streams`: the most requests in flight. `install`: packages with their versions."""

    file: Path
    name: str
    provider: str
    install: tuple[str, ...]
    streams: int
    source: str

    @property
    def language(self) -> str:
        """The language, from the file's suffix."""
        return LANGUAGES[self.file.suffix]


def comments(file: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The values of these names in the first comments of a program; the last one may take several lines.

    Raises:
        ValueError: one of them is missing.
    """
    said: dict[str, str] = {}
    for line in file.read_text().splitlines():
        text = line.lstrip("#/ ")
        if line.startswith(("#!", "<?")):
            continue
        if not line.startswith(("#", "//")):
            break
        name, colon, value = text.partition(":")
        if colon and name in names:
            said[name] = value.strip()
        elif names[-1] in said:
            said[names[-1]] += " " + text.strip()
    missing = set(names) - said.keys()
    if missing:
        raise ValueError(f"{file.name} does not say: {', '.join(sorted(missing))}")
    return said


def read(file: Path) -> Rival:
    """The driver that the first comments of a file describe.

    Raises:
        ValueError: one of them is missing or wrong.
    """
    said = comments(file, ("rival", "provider", "install", "streams", "source"))
    if said["provider"] not in ("apns", "fcm"):
        raise ValueError(f"{file.name}: its provider is apns or fcm, not {said['provider']}")
    packages = () if said["install"] == "nothing" else tuple(said["install"].split())
    streams = int(said["streams"])
    return Rival(file, said["rival"], said["provider"], packages, streams, said["source"])


def rivals() -> list[Rival]:
    """All drivers, by file name."""
    files = sorted(
        file for file in DRIVERS.iterdir() if file.suffix in LANGUAGES and file.name not in HELPERS
    )
    return [read(file) for file in files]
