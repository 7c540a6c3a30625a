"""Generated pages: each is made from the table, docstring or command that it documents."""

from __future__ import annotations

from docsite.commands import commands, fake_commands
from docsite.examples import examples
from docsite.exit_statuses import exit_statuses_page
from docsite.http import control_port, gateway
from docsite.messages import messages_page
from docsite.reference import api_pages
from docsite.tables import fates
from docsite.troubleshooting import errors_page, reason_pages


def generated() -> dict[str, str]:
    """Each page's path under docs/ without `.md`, and its Markdown."""
    return {
        **api_pages(),
        **reason_pages(),
        "troubleshooting/errors": errors_page(),
        "troubleshooting/messages": messages_page(),
        "troubleshooting/exit-statuses": exit_statuses_page(),
        "guides/examples": examples(),
        "reference/commands": commands(),
        "reference/fakeservers-command": fake_commands(),
        "reference/fates": fates(),
        "reference/gateway": gateway(),
        "reference/control-port": control_port(),
    }
