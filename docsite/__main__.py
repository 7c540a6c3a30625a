"""`python -m docsite [DIRECTORY]`: the site, into build/docs/site unless a directory is named.

Sources are the Markdown of docs/ and the pages that `docsite.pages` makes. A warning of the generator is an error, and so are
a dead link, a page without a heading, and anything that a page would load from another host.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from docsite.pages import generated

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
LOADED: Final = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*?\bsrc=["']?(?:https?:)?//[^"' >]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preload|preconnect|modulepreload))[^>]*?"""
    r"""\bhref=["']?(?:https?:)?//[^"' >]+|@import\s*["'(]*https?:[^"')]+|url\(["']?https?:[^"')]+"""
)
"""What makes a browser ask another host: not a link that a reader follows."""

WARNED: Final = re.compile(r"^(?:griffe|mkdocstrings|autorefs|markdown)\b.*:", re.MULTILINE | re.IGNORECASE)
"""A warning of what reads the docstrings, which is none to the generator itself."""


PANIC = "panicked at"
TRIES = 3
"""Zensical 0.0.73 runs into its own threads now and then: a file of its cache is not there yet when it is read."""


def build(target: Path) -> list[str]:
    """Build the site in `target`, which is replaced.

    Returns:
        What is wrong with it, a sentence each; empty when nothing is.
    """
    with tempfile.TemporaryDirectory(prefix="docs-") as directory:  # two builds at a time do not meet
        return _build(Path(directory), target)


def _build(place: Path, target: Path) -> list[str]:
    pages = place / "pages"
    shutil.copytree(DOCS, pages, ignore=shutil.ignore_patterns("examples"))
    for name, text in generated().items():
        file = pages / f"{name}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    settings = tomllib.loads((ROOT / "docsite" / "site.toml").read_text(encoding="utf-8"))
    site = place / "site"
    config = {**settings["config"], "docs_dir": "pages", "site_dir": "site"}
    config["plugins"]["mkdocstrings"]["handlers"]["python"]["paths"] = [str(ROOT)]
    config["nav"] = navigation(settings["sections"], pages)
    (place / "mkdocs.yml").write_text(json.dumps(config), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--strict",
        "--config-file",
        str(place / "mkdocs.yml"),
    ]
    for _ in range(TRIES):
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if PANIC not in said:
            break
    if done.returncode or WARNED.search(said):
        return [said]
    wrong = [
        f"{page}: it has no heading"
        for page in sorted(pages.rglob("*.md"))
        if not page.read_text().startswith("# ")
    ]
    for file in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        wrong += [f"{file}: it loads {found}" for found in LOADED.findall(file.read_text(encoding="utf-8"))]
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(site, target)
    return wrong


def navigation(sections: Mapping[str, Sequence[str]], pages: Path) -> list[dict[str, list[str]]]:
    """Each section with its pages: the named ones that exist, then the remaining ones of its folder.

    Raises:
        ValueError: a page lies in no section's folder.
    """
    there = {page.relative_to(pages).with_suffix("").as_posix() for page in pages.rglob("*.md")}
    made: list[dict[str, list[str]]] = [{"Home": ["index.md"]}]
    for section, first in sections.items():
        own = {page for page in there if page.startswith(f"{section.lower()}/")}
        named = [page for page in first if page in own]
        made.append({section: [f"{page}.md" for page in (*named, *sorted(own.difference(named)))]})
        there -= own
    if there != {"index"}:
        raise ValueError(f"docs/ has pages outside of the sections: {sorted(there - {'index'})}")
    return made


def main(arguments: Sequence[str]) -> int:
    """Build; 0, or 1 with what is wrong on the standard error."""
    target = Path(arguments[0]) if arguments else ROOT / "build" / "docs" / "site"
    wrong = build(target)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    if not wrong:
        print(f"the site is in {target}: open {target / 'index.html'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
