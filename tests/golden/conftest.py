"""What the golden tests share."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.golden.judge", "tests.golden.pushes", "tests.golden.talk")
