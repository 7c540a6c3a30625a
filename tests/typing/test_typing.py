"""`mypy --strict` and pyright find every planted mistake in wrong.py, and nothing in right.py or in the examples of the docs.

pyright is run as basedpyright, the same checker in a package that needs no npm; it is strict about what is right, and
standard about what is wrong.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"
PROGRAMS: Final = [
    file
    for file in sorted((ROOT / "docs" / "examples").rglob("*.py"))
    if file.name != "arq_worker.py"  # arq is not installed: see the extra `examples`
]
"""For pyright; `make types` has mypy look at them."""
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("typing")]

Found = dict[str, dict[int, str]]
"""By file name and line, the first error."""

GIVEN: Final = {
    "apns": "from pushcore import ApnsClient as A\napns: A",
    "metrics": "from pushcore import Metrics as Me\nmetrics = Me()",
    "telemetry": "from pushcore import telemetry",
    "rows": "from collections.abc import Iterable as I, Mapping as M\nrows: I[M[str, str]]",
    "MyQueue": """from pushcore import Broker as B
class MyQueue:
    @staticmethod
    async def open(url: str, campaign: str, *, idle: float) -> B:
        raise NotImplementedError
""",
    "my_sender": "from typing import Any as SenderAny\nmy_sender: SenderAny",
    "my_client": "from typing import Any as ClientAny\nmy_client: ClientAny",
}
"""What the text around an example says is there already, declared where an example uses it."""


def mypy(files: list[Path], scratch: Path) -> Found:
    """The errors of `mypy --strict`."""
    strict = ["--strict", "--no-error-summary", "--config-file", "", "--python-version", "3.11"]
    command = [sys.executable, "-m", "mypy", *strict, "--cache-dir", str(scratch / "mypy"), *map(str, files)]
    places = {**os.environ, "MYPYPATH": str(ROOT / "docs" / "examples")}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=places)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found: Found = defaultdict(dict)
    for path, line, message in re.findall(r"^(.*?):(\d+): error: (.*)$", run.stdout, re.MULTILINE):
        found[Path(path).name].setdefault(int(line), message)
    return found


def pyright(files: list[Path], scratch: Path) -> Found:
    """The errors of pyright, in PROGRAMS too."""
    files = [*files, *PROGRAMS]
    program = shutil.which("basedpyright", path=str(Path(sys.executable).parent)) or shutil.which(
        "basedpyright"
    )
    if program is None:
        pytest.skip("basedpyright is missing: install the extra pushcore[dev]")
    config = scratch / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": list(map(str, files)),
                "extraPaths": [
                    str(ROOT / path) for path in ("", "docs/examples", "docs/examples/django_site")
                ],
                "typeCheckingMode": "standard",
                "pythonVersion": "3.11",
            }
        )
    )
    run = subprocess.run(
        [program, "--project", str(config), "--pythonpath", sys.executable, "--outputjson"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    report = json.loads(run.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files)
    found: Found = defaultdict(dict)
    for row in report["generalDiagnostics"]:
        if row["severity"] == "error":
            found[Path(row["file"]).name].setdefault(row["range"]["start"]["line"] + 1, row["message"])
    return found


CHECKERS: Final[dict[str, Callable[[list[Path], Path], Found]]] = {"mypy": mypy, "pyright": pyright}


def examples() -> dict[str, str]:
    """The Python examples of all pages, each a module of its own, by file name: the page and the line."""
    found = {}
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: match.start()].count("\n") + 2
            found[f"{page.stem.replace('-', '_')}_{line}.py"] = module_of(match[1])
    return found


def module_of(example: str) -> str:
    """An example with what is given around it, and in a coroutine where it awaits by itself."""
    tree = compile(example, "example", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    try:
        compile(example, "example", "exec")
    except SyntaxError:
        example = f"async def example() -> None:\n{textwrap.indent(example, '    ')}\n"
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    defined = {node.id for node in names if isinstance(node.ctx, ast.Store)} | set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            defined |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
    free = dict.fromkeys(node.id for node in names if node.id not in defined)
    given = "\n".join(GIVEN[name] for name in free if name in GIVEN)
    return f"{given}\n\n{example}"


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Found]:
    """What a checker finds in all files, in one run."""
    scratch = tmp_path_factory.mktemp("typing")
    files = [RIGHT, WRONG]
    for name, text in examples().items():
        file = scratch / name
        file.write_text(text)
        files.append(file)

    @functools.cache
    def checked(checker: str) -> Found:
        return CHECKERS[checker](files, scratch)

    return checked


def planted() -> set[int]:
    return {line for line, text in enumerate(WRONG.read_text().splitlines(), 1) if text.endswith("# wrong")}


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_planted_mistake_is_found_and_no_other(checker: str, check: Callable[[str], Found]) -> None:
    found = check(checker)["wrong.py"]
    lines = WRONG.read_text().splitlines()
    assert len(planted()) > 100
    assert [lines[line - 1].strip() for line in sorted(planted() - found.keys())] == []
    assert {line: found[line] for line in sorted(found.keys() - planted())} == {}


@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_is_found_in_what_is_right(checker: str, check: Callable[[str], Found]) -> None:
    assert check(checker)["right.py"] == {}


@pytest.mark.parametrize("checker", CHECKERS)
def test_nothing_is_found_in_the_examples(checker: str, check: Callable[[str], Found]) -> None:
    names = examples().keys()
    assert len(names) > 15
    found = check(checker)
    lines = [f"{name}:{line}: {found[name][line]}" for name in sorted(names) for line in found.get(name, ())]
    assert lines == [], "\n".join(lines)


def test_nothing_is_found_in_the_programs(check: Callable[[str], Found]) -> None:
    assert len(PROGRAMS) > 8
    found = check("pyright")
    assert {file.name: found[file.name] for file in PROGRAMS if found.get(file.name)} == {}
