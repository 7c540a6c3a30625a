"""Where a mistake in gateway.toml is. What mistakes there are: tests/unit/gateway/test_config.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pushcore.audience.problems import BadInput
from pushcore.gateway.config_file import Locate, read_config


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
        (b"a = 1\nb = ", "gateway.toml:2: "),
        (b"[server]\nport = 1\nport = 2\n", "gateway.toml"),
        (b'source = "x"\n', "gateway.toml:1: there is no key source"),
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
