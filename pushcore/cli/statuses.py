"""The exit statuses of all commands."""

from __future__ import annotations

OK, INCOMPLETE, BAD_INPUT, STOPPED = 0, 1, 2, 3
"""In this order: every row has a result; some rows have none; wrong usage or bad input; stopped because of the configuration."""
