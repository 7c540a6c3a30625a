"""What needs an extra says what to install, in one sentence, and nothing else needs any."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts a Python of its own

EXTRAS = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"][
    "optional-dependencies"
]
OF_DEVELOPERS = {"bench", "dev", "docs", "examples"}

MODULES = {
    "google-auth": "google.auth",
    "nats-py": "nats",
    "opentelemetry-api": "opentelemetry",
    "prometheus-client": "prometheus_client",
}
"""The modules that are not called as their library is."""
NEVER_MISSED = {"hiredis", "hyperframe"}
"""Without hiredis nothing but speed is lost; h2, which is no extra, brings hyperframe."""
CONTROL_PORT_ALONE = {"fastapi", "prometheus_client", "pydantic"}
"""What the fakes load when the control port is opened, which the demo does not."""

USES = {
    "fakeservers": (
        "import runpy; sys.argv = ['fakeservers', 'apns', '--certs', '.', '--control-port', '0'];"
        "runpy.run_module('fakeservers', run_name='__main__')",
        "from pushcore.cli.main import main; sys.exit(main(['demo']))",
        "from fakeservers import FakeApns, FakeFcm, InThread, Control",
    ),
    "google-auth": (
        "from pushcore.auth.google_credentials import GoogleCredentials as G; G(object(), scopes=[])",
    ),
    "prometheus": (
        "from pushcore import telemetry; telemetry.serve(dict, 0)",
        "from pushcore import telemetry; telemetry.Collector(dict)",
    ),
    "opentelemetry": ("from pushcore import telemetry; telemetry.instrument(dict)",),
    "gateway": ("from pushcore.cli.main import main; sys.exit(main(['gateway', '--demo']))",),
    "redis": (
        "import asyncio; from pushcore.queue.opening import open_queue as o; asyncio.run(o('redis://h', 'c'))",
    ),
    "nats": (
        "import asyncio; from pushcore.queue.opening import open_queue as o; asyncio.run(o('nats://h', 'c'))",
    ),
    "parquet": (
        "from pushcore.audience.parquet import ParquetRows as P; P('a.parquet', 'a.parquet')",
        "from pushcore.cli.report.outcomes import write; write([], sys.stdout.buffer, 'parquet')",
    ),
    "storage": ("from pushcore.audience.storage import open_object as o; o('s3://bucket/key')",),
}
"""How each extra comes to be needed."""


def modules(extra: str) -> list[str]:
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in EXTRAS[extra]]
    return [MODULES.get(name, name) for name in names if name not in NEVER_MISSED]


def run(code: str, missing: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    """Run it where these modules cannot be imported."""
    setup = f"import sys; sys.modules.update(dict.fromkeys({missing!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", setup + code],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("extra", "use", "module"),
    [
        (extra, use, module)
        for extra in EXTRAS
        if extra not in OF_DEVELOPERS
        for use in USES[extra]
        for module in modules(extra)
        if not ("demo" in use and module in CONTROL_PORT_ALONE)
    ],
)
def test_a_missing_extra_is_named_in_one_sentence(extra: str, use: str, module: str, tmp_path: Path) -> None:
    ran = run(use, [module], tmp_path)
    assert ran.returncode, ran.stdout
    last = ran.stderr.splitlines()[-1]
    assert last.endswith(f'pip install "pushcore[{extra}]"'), ran.stderr
    if "main" in use:  # a command: nothing but the sentence
        assert ran.returncode == 2
        assert ran.stderr.splitlines() == [last]


def test_without_any_extra_everything_can_be_imported(tmp_path: Path) -> None:
    missing = [module for extra in USES for module in modules(extra)]
    code = """
import importlib, pkgutil, pushcore, fakeservers.pytest_plugin
for each in pkgutil.walk_packages(pushcore.__path__, "pushcore."):
    if not each.name.endswith("__main__") and not each.name.startswith("pushcore.gateway"):
        importlib.import_module(each.name)
from pushcore.cli.main import main
sys.exit(main(["--help"]))
"""
    ran = run(code, missing, tmp_path)
    assert ran.returncode == 0, ran.stderr
