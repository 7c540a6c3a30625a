"""The documentation's site: `python -m docsite` makes it of docs/, of the tables and docstrings, and of the commands."""
