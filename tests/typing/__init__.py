"""What must type-check, what must not, and the examples of README and docs: for mypy and pyright."""
