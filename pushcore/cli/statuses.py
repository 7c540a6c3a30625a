"""The exit statuses of every command."""

from __future__ import annotations

OK, INCOMPLETE, BAD_INPUT, STOPPED = 0, 1, 2, 3
"""Every row has a result; some rows have none; wrong usage or bad input; stopped because of the configuration."""
