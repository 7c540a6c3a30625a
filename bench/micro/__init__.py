"""Single steps of a push by pytest-benchmark: `python -m bench micro`. The normal test run does not collect them."""
