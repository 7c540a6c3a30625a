"""Where a mistake in gateway.toml is. What mistakes there are: tests/unit/gateway/test_config.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput
from pushcore.gateway.config_file import Locate, read_config
from tests.support.key_material import FORMS, leaks, materials, told


def test_lines_of_nested_tables() -> None:
    locate = Locate("f", "[[a]]\nx = 1\n[[a.b]]\ny = 2\n[[a]]\n[[a.b]]\n[[a.b]]\ny = 3\nz.k = 4\n")
    assert locate("a", 0, "x") == "f:2"
    assert locate("a", 0, "b", 0, "y") == "f:4"
    assert locate("a", 1, "b", 1, "y") == "f:8"
    assert locate("a", 1, "b", 1, "z", "k") == "f:9"
    assert locate("a", 1, "b", 0, "nothing") == "f:6"
    assert locate("nothing") == "f:1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "is not UTF-8; expected a TOML file"),
        (b'\xef\xbb\xbfsource = "x"\n', "gateway.toml:1: unknown key source"),
        (b"a = 1\nb = ", "gateway.toml:2: "),
        (b"[server]\nport = 1\nport = 2\n", "gateway.toml"),
        (b'source = "x"\n', "gateway.toml:1: unknown key source"),
        (b'[[app]]\nid = "a"\n[app.fcm]\n', "gateway.toml:3: [app.fcm] has no service-account"),
        (b'[[app]]\nid = "a"\ncolour = 1\n', "gateway.toml:3: unknown key"),
    ],
)
def test_a_mistake_is_a_sentence_with_file_and_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput) as raised:
        read_config(path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


SECRETS: dict[str, Callable[[str], str]] = {**FORMS, "hexadecimal": lambda text: text.encode().hex()}


@pytest.mark.parametrize("form", list(SECRETS))
def test_a_key_in_the_place_of_its_path_is_no_path_in_the_files_directory(tmp_path: Path, form: str) -> None:
    given = SECRETS[form](materials()["p8"])
    path = tmp_path / "gateway.toml"
    ids = 'key-id = "ABC123DEFG"\nteam-id = "TEAM123456"'
    section = f'[[app.apns]]\ntopics = ["com.example.app"]\nkey = {json.dumps(given)}\n{ids}\n'
    path.write_text(f'[[app]]\nid = "a"\n{section}', "utf-8")
    assert (
        read_config(path).app[0].apns[0].key == given
    )  # which the key's reader takes, or refuses without repeating it


def test_a_key_in_the_place_of_a_name_is_not_in_the_context_of_the_error(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(f"[server]\n{json.dumps(materials()['p8'])} = 1\n")
    with pytest.raises(BadInput, match="unknown key") as raised:
        read_config(path)
    assert leaks(materials()["p8"], told(raised.value)) is None
