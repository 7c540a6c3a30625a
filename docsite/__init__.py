"""The documentation's site: `python -m docsite` makes it from docs/, from tables and docstrings, and from the commands."""
