"""What the programs say of themselves in their first lines.

A program is one file in `programs/` that begins with comments like these:

    # sender: aioapns
    # provider: apns
    # install: aioapns==4.0
    # streams: 100
    # reached: hosts
    # how: the options of the sender that connect it to the fakes

`install` names packages as in `bench/rivals/catalogue.py`, or `command:NAME@VERSION` for what Debian has; the first one is the sender's. `streams` is how many pushes it has
in flight on the calm day. `reached` is `options` where the library has options for host and port, and otherwise `hosts`: it
connects to Apple's or Google's names on port 443, which lead to the fakes. `programs/sending.py` says what a program is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.rivals.catalogue import comments

PROGRAMS: Final = Path(__file__).parent / "programs"
LANGUAGES: Final = {
    ".py": "Python",
    ".mjs": "Node",
    ".go": "Go",
    ".rs": "Rust",
    ".java": "Java",
    ".php": "PHP",
    ".sh": "shell",
}
SHARED: Final = "sending"
"""The stem of the files that the programs of a language share."""


@dataclass(frozen=True, slots=True)
class Sender:
    """One program. `reached`: `options` or `hosts`. `install`: packages with their versions."""

    file: Path
    name: str
    provider: str
    install: tuple[str, ...]
    streams: int
    reached: str
    how: str

    @property
    def language(self) -> str:
        """By the file's suffix."""
        return LANGUAGES[self.file.suffix]

    @property
    def version(self) -> str:
        """Of the library or command."""
        first = self.install[0]
        version = first.rpartition("@")[2] if "@" in first[1:] else first.replace("==", ":").split(":")[-1]
        return version.removeprefix("v")


def read(file: Path) -> Sender:
    """What a program's first comments say.

    Raises:
        ValueError: one of them is missing or wrong.
    """
    said = comments(file, ("sender", "provider", "install", "streams", "reached", "how"))
    for name, allowed in (("provider", ("apns", "fcm")), ("reached", ("options", "hosts"))):
        if said[name] not in allowed:
            raise ValueError(f"{file.name}: {name} is {' or '.join(allowed)}, not {said[name]}")
    packages = tuple(said["install"].split())
    how = said["how"]
    return Sender(
        file, said["sender"], said["provider"], packages, int(said["streams"]), said["reached"], how
    )


def senders() -> list[Sender]:
    """All programs, by file name."""
    files = (file for file in PROGRAMS.iterdir() if file.suffix in LANGUAGES and file.stem != SHARED)
    return [read(file) for file in sorted(files)]
