"""The calls of the control port as a table: method, path, what it takes, what it gives. OpenAPI and checks are made of it."""

from __future__ import annotations

from fakeservers.control.provider_routes import APNS_ROUTES, FCM_ROUTES
from fakeservers.control.route import (
    FAULT,
    FAULT_ID,
    FILTER,
    PAGED,
    PARTS,
    PLAN,
    Route,
    list_of,
    object_of,
    text,
)

_ROUTES = (
    Route(
        name="state",
        method="GET",
        path="/v1/state",
        tag="looking",
        own=True,
        summary="Everything that the page shows: rates, percentiles, answers, faults, the last notifications.",
    ),
    Route(
        name="events",
        method="GET",
        path="/v1/events",
        tag="looking",
        own=True,
        media="text/event-stream",
        summary="The same as server-sent events: `history` once, then `state` every second.",
    ),
    Route(
        name="counters",
        method="GET",
        path="/v1/counters",
        tag="looking",
        own=True,
        summary="Counters since the start or the last reset, by service.",
    ),
    Route(
        name="metrics",
        method="GET",
        path="/metrics",
        tag="looking",
        own=True,
        media="text/plain",
        summary="The counters in Prometheus' text form.",
    ),
    Route(
        name="received",
        method="GET",
        path="/v1/received",
        tag="looking",
        query={**FILTER, **PAGED},
        own=True,
        summary="Requests and their answers, newest first. With the `until` of the first page, pages stay as they are.",
    ),
    Route(
        name="clear_received",
        method="DELETE",
        path="/v1/received",
        tag="looking",
        query=FILTER,
        summary="Forget what was received; with filters, only what fits.",
    ),
    Route(
        name="reset",
        method="POST",
        path="/v1/reset",
        tag="looking",
        body=object_of(
            {},
            {
                "what": {
                    **list_of({"type": "string", "enum": list(PARTS)}, len(PARTS)),
                    "default": list(PARTS),
                }
            },
        ),
        summary="Begin anew: forget what was received, set counters to zero, put back the fault plan of the start (`--faults`) "
        "with its time at zero; or only some of these. `PUT /v1/faults` with an empty `plan` takes all faults out.",
    ),
    Route(
        name="faults",
        method="GET",
        path="/v1/faults",
        tag="faults",
        summary="The faults with their state, and the names of the ready-made plans.",
    ),
    Route(
        name="set_faults",
        method="PUT",
        path="/v1/faults",
        tag="faults",
        body=object_of(
            {},
            {
                "plan": PLAN,
                "preset": text(64, "^[a-z][a-z0-9-]*$", "A ready-made plan instead."),
                "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                "scale": {
                    "type": "number",
                    "minimum": 0.0001,
                    "maximum": 10_000,
                    "description": "What all times are multiplied by.",
                },
            },
        ),
        summary="Put another plan in the place of this one. Its time begins now.",
    ),
    Route(
        name="add_fault",
        method="POST",
        path="/v1/faults",
        tag="faults",
        status=201,
        body=FAULT,
        argument="fault",
        summary="Add a fault.",
    ),
    Route(
        name="replace_fault",
        method="PUT",
        path="/v1/faults/{fault_id}",
        tag="faults",
        body=FAULT,
        argument="fault",
        parameters={"fault_id": FAULT_ID},
        summary="Put a fault in the place of the one of this id, or add it.",
    ),
    Route(
        name="switch_fault",
        method="PATCH",
        path="/v1/faults/{fault_id}",
        tag="faults",
        parameters={"fault_id": FAULT_ID},
        body=object_of({"enabled": {"type": "boolean"}}),
        summary="Switch a fault on or off.",
    ),
    Route(
        name="remove_fault",
        method="DELETE",
        path="/v1/faults/{fault_id}",
        tag="faults",
        status=204,
        parameters={"fault_id": FAULT_ID},
        summary="Take a fault out.",
    ),
)

ROUTES: tuple[Route, ...] = (*_ROUTES, *APNS_ROUTES, *FCM_ROUTES)
