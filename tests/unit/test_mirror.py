"""Each module of pushcore has a unit file of its own, or is named below with the files that test it."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pushcore"
UNIT = ROOT / "tests" / "unit"

# One line for each module, sorted: why it has no unit file | what tests it instead.
TESTED_IN = {
    "__main__.py": "starts the command line in a process | tests/e2e/cli/journal_cli.py, tests/e2e/cli/test_journal.py",
    "engine/journaling.py": "a protocol without code, which the lane's tests fill | tests/unit/engine/test_lane_retries.py, tests/e2e/engine/test_journal.py",
    "fcm/burst_tokens.py": "the tokens of a burst, through the requests | tests/unit/fcm/test_field_types.py",
    "fcm/legacy_result.py": "a result with more fields, made by the client | tests/unit/fcm/test_legacy.py",
    "fcm/parts.py": "what it keeps is seen in the requests alone | tests/unit/fcm/test_request.py",
    "http2/blocks.py": "the rules of the RFC, for both engines | tests/protocol/test_4_3_field_section_compression.py, tests/protocol/test_6_10_continuation.py",
    "http2/flow_control.py": "windows are seen in the frames that they let out | tests/unit/http2/test_outgoing.py, tests/protocol/test_6_9_1_flow_control_window.py, tests/protocol/test_6_9_2_initial_window_size.py",
    "journal/outcome.py": "written and read by a journal | tests/unit/journal/test_journal.py, tests/unit/journal/test_format.py",
    "models/expo_message.py": "with what becomes of a message | tests/unit/models/test_expo.py",
    "models/fcm_check.py": "each rule through the requests that it guards | tests/unit/fcm/test_checks.py, tests/unit/fcm/test_legacy_request.py",
    "models/fcm_values.py": "each value through the requests that it guards | tests/unit/fcm/test_checks.py, tests/unit/fcm/test_legacy_request.py",
    "payloads/compiled_pushes.py": "what payloads are compiled into | tests/unit/payloads/test_compiled.py",
    "payloads/fcm_rows.py": "makes the pushes of rows | tests/unit/payloads/test_rows.py",
    "payloads/payload.py": "read by the formats | tests/unit/payloads/test_formats.py, tests/unit/payloads/test_compiled.py",
    "payloads/values.py": "what stands in a payload | tests/unit/payloads/test_json_template.py",
}


@functools.cache
def modules() -> dict[str, Path]:
    """The modules that need tests, and where their unit file would be: all but those without code of their own."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "__init__.py" and not only_imports(path):
            inside = path.relative_to(PACKAGE)
            found[inside.as_posix()] = UNIT / inside.parent / f"test_{inside.name}"
    return found


def only_imports(path: Path) -> bool:
    """Whether a module does nothing but import names, as those do that programs of older versions import."""
    return all(
        isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.parse(path.read_text()).body
    )


def test_each_module_has_a_unit_file_or_says_what_tests_it() -> None:
    missing = [name for name, unit in modules().items() if not unit.exists() and name not in TESTED_IN]
    assert not missing, f"no unit file and no line in TESTED_IN: {missing}"


def test_no_module_with_a_unit_file_is_in_the_table() -> None:
    assert not [name for name, unit in modules().items() if unit.exists() and name in TESTED_IN]


def test_the_table_names_modules_and_files_that_exist() -> None:
    assert not set(TESTED_IN) - set(modules())
    for name, line in TESTED_IN.items():
        reason, _, files = line.partition(" | ")
        assert reason, name
        assert files, name
        for file in files.split(", "):
            assert (ROOT / file).is_file(), f"{name}: there is no {file}"


def test_the_table_is_sorted() -> None:
    assert list(TESTED_IN) == sorted(TESTED_IN)


def test_each_unit_file_of_a_module_stands_where_the_module_does() -> None:
    """A module that has moved takes its unit file with it: none is left in a room that has no module of any name."""
    rooms = {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    for path in UNIT.rglob("test_*.py"):
        assert path.parent.relative_to(UNIT) in rooms, path
