"""How the fake FCM responds to a message."""

from __future__ import annotations

import json
from typing import Any

from fakeservers.fcm.message import read_send
from fakeservers.responses.fcm import Reply


def refusal(message: Any, **request: Any) -> Reply | None:
    return read_send(json.dumps({"message": message, **request}).encode())[0].refusal


def violations(reply: Reply | None) -> list[tuple[str, str]]:
    """Field and description of each violation."""
    assert reply is not None
    assert reply.status == 400
    details = json.loads(reply.body)["error"].get("details", [])
    return [
        (item.get("field", ""), item["description"])
        for detail in details
        for item in detail.get("fieldViolations", ())
    ]


def has_fcm_error(reply: Reply | None) -> bool:
    return reply is not None and b"FcmError" in reply.body
