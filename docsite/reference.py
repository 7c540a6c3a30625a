"""The public API: every name of `pushcore.__all__`, each on the page of its subject; mkdocstrings reads the docstrings."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import pushcore
from pushcore import telemetry

PAGES: Final = {
    "clients": ("Clients and credentials", "Connections to APNs and FCM, and what they authenticate with."),
    "pushes": ("Pushes", "What is sent: notifications, messages, and their parts."),
    "engine": (
        "Engine, results and metrics",
        "Streams of pushes, what became of each, and what can be measured.",
    ),
    "journal": ("Journal and queue", "Campaigns that survive a kill, and campaigns of many workers."),
    "errors": ("Exceptions", "Every exception that pushcore raises or reports."),
}
"""The pages, with title and introduction."""

PLACES: Final = {
    "models": "pushes",
    "auth": "clients",
    "apns": "clients",
    "fcm": "clients",
    "http2": "clients",
    "provider_client": "clients",
    "journal": "journal",
    "queue": "journal",
    "errors": "errors",
    "transport_errors": "errors",
}
"""A part of pushcore, and the page of the names that it defines; of all other parts it is the engine's."""

INHERITED: Final = {"Broker"}
"""Classes that are shown with the members of their bases, because these have no public name."""

UNPLACED: Final = {
    "APNS_REASONS": "apns",
    "FCM_REASONS": "fcm",
    "QUEUE_CHECKS": "queue",
    "Environment": "auth",
    "Http2": "http2",
    **dict.fromkeys(
        (
            *(
                "AndroidPriority",
                "ApnsPriority",
                "ApnsPushType",
                "ExpoPriority",
                "InterruptionLevel",
                "LegacyPriority",
            ),
            *("LiveActivityEvent", "NotificationPriority", "NotificationProxy", "Visibility"),
        ),
        "models",
    ),
}
"""Constants and closed choices, which know no module: the part that defines them."""


def page_of(name: str) -> str:
    """The page that documents a public name."""
    value = getattr(pushcore, name)
    if isinstance(value, type) and issubclass(value, BaseException):
        return "errors"
    module = getattr(value, "__module__", "")
    part = module.split(".")[1] if module.startswith("pushcore.") else UNPLACED.get(name, "")
    return PLACES.get(part, "engine")


def entry(name: str) -> str:
    """What mkdocstrings replaces by the documentation of a public name."""
    options = "    options:\n      inherited_members: true\n" if name in INHERITED else ""
    return f"::: pushcore.{name}\n{options}"


def api_pages() -> dict[str, str]:
    """The pages, each public name on one of them."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in sorted(pushcore.__all__):
        if not name.startswith("__"):
            names[page_of(name)].append(name)
    pages = {}
    for page, (title, about) in PAGES.items():
        entries = [entry(name) for name in names[page]]
        pages[f"reference/{page}"] = "\n".join([f"# {title}\n", f"{about}\n", *entries])
    pages["reference/telemetry"] = f"# Telemetry\n\n::: {telemetry.__name__}\n\n::: pushcore.metrics.merge\n"
    return pages
