"""The programs of docs/examples as one page, so that readers can copy them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from docsite.markdown import code

EXAMPLES: Final = Path(__file__).parents[1] / "docs" / "examples"
TITLES: Final = {
    "fastapi_service.py": "FastAPI",
    "django_site": "Django",
    "loop_thread.py": "A loop in a thread",
    "celery_tasks.py": "Celery",
    "rq_jobs.py": "RQ",
    "arq_worker.py": "arq",
    "redis_list.py": "A Redis list",
    "durable_sender.py": "A sender that survives kill -9",
    "test_own_app.py": "Tests of your app",
}
"""The programs in this order, then further ones by name."""


def examples() -> str:
    """The page: for each program its first comment, then its text."""
    there = [
        path.name
        for path in sorted(EXAMPLES.iterdir())
        if path.suffix == ".py" or (path.is_dir() and path.name[0] not in "._")
    ]
    parts = [
        "# Programs\n",
        "Complete programs, in `docs/examples` of the repository. Tests run each of them against the fake servers.\n",
    ]
    for name in [
        *(name for name in TITLES if name in there),
        *(name for name in there if name not in TITLES),
    ]:
        parts.append(f"## {TITLES.get(name, name)}\n")
        path = EXAMPLES / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            if len(text.splitlines()) > 3:
                parts += [f"`{file.relative_to(EXAMPLES).as_posix()}`\n", code(text, "python")]
    return "\n".join(parts)
