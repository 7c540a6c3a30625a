"""What to install where the libraries of the fake servers are missing: they are an extra of pushcore."""

from __future__ import annotations

import sys
from typing import NoReturn


class ExtraMissing(ModuleNotFoundError):
    """A library of the extra `fakeservers` is not installed; the text says what to install."""


def explained(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error to raise in its place: a sentence, unless the module that is missing is one of ours."""
    library = (error.name or "").partition(".")[0]
    if isinstance(error, ExtraMissing) or library in ("", "fakeservers"):
        return error
    sentence = f'the fake servers need {library}, which is not installed; pip install "pushcore[fakeservers]"'
    return ExtraMissing(sentence, name=error.name)


def stop(error: ModuleNotFoundError) -> NoReturn:
    """End the command with the sentence."""
    error = explained(error)
    if not isinstance(error, ExtraMissing):
        raise error
    print(f"fakeservers: {error}", file=sys.stderr)
    sys.exit(2)
