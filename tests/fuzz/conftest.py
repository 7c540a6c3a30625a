"""How long the fuzzing takes: `HYPOTHESIS_PROFILE=long pytest tests/fuzz` looks two hundred times as far as usual."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_CALM = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("short", max_examples=100, deadline=None, suppress_health_check=_CALM)
settings.register_profile(
    "ci", max_examples=1000, deadline=None, suppress_health_check=_CALM, print_blob=True
)
settings.register_profile(
    "long", max_examples=20_000, deadline=None, suppress_health_check=_CALM, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
