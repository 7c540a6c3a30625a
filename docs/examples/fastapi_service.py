"""A FastAPI service with one engine: single pushes by request, campaigns in the background.

uvicorn fastapi_service:app

curl localhost:8000/push -H 'content-type: application/json' -d '{"token": "…", "title": "Hi"}'
curl localhost:8000/campaigns -H 'content-type: application/json' -d '{"tokens": ["…", "…"], "title": "Hi"}'
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from pushcore import ApnsClient, ApnsKey, BreakerOpen, Notification, PushEngine

log = logging.getLogger(__name__)


class Push(BaseModel):
    """The body of a request to `/push`."""

    token: str
    title: str


class Campaign(BaseModel):
    """The body of a request to `/campaigns`."""

    tokens: list[str]
    title: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the client once; at the end waits for the campaigns, then for the requests in flight."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    apns = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    async with PushEngine(apns) as engine, asyncio.TaskGroup() as tasks:
        app.state.apns, app.state.engine, app.state.tasks = apns, engine, tasks
        app.state.campaigns = {}
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/push")
async def push(request: Request, given: Push) -> dict[str, Any]:
    """Send one push and return its result."""
    apns: ApnsClient = request.app.state.apns
    result = await apns.send(Notification(given.token, {"aps": {"alert": {"title": given.title}}}))
    return result.to_dict()


@app.post("/campaigns", status_code=202)
async def start(request: Request, given: Campaign) -> dict[str, int]:
    """Start a campaign in the background; returns its number."""
    state = request.app.state
    number = len(state.campaigns) + 1
    state.campaigns[number] = Counter()
    state.tasks.create_task(run(state.engine, given, state.campaigns[number]))
    return {"campaign": number}


async def run(engine: PushEngine[Notification], given: Campaign, counts: Counter[str]) -> None:
    """Send to every token; one payload for all. The engine keeps a bounded number of pushes in flight."""
    payload = {"aps": {"alert": {"title": given.title}}}
    pushes = (Notification(token, payload) for token in given.tokens)
    try:
        async for result in engine.send_many(pushes):
            counts[result.verdict.name] += 1
    except BreakerOpen as error:  # an exception would end the task group, and with it the engine
        log.error("a campaign was stopped: %s", error)


@app.get("/campaigns/{number}")
async def progress(request: Request, number: int) -> dict[str, int]:
    """The number of pushes of a campaign by verdict."""
    if number not in request.app.state.campaigns:
        raise HTTPException(404, "there is no such campaign")
    counts: Counter[str] = request.app.state.campaigns[number]
    return dict(counts)
