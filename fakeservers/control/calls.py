"""The calls of the control port. FastAPI makes routes, checks and the OpenAPI document from them.

`ControlService` has a method of the same name for each; calls that need the meter are answered here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from fakeservers.control import requests, responses
from fakeservers.control.meter import Meter, counters
from fakeservers.control.problem import Problem, shown
from fakeservers.control.prometheus import exposition
from fakeservers.control.service import Answered, Calls

MAX_WATCHERS = 16
"""Pages that may read events at a time."""


class Fakes:
    """The fakes behind one control port. The page shows a change at once, not with the next second."""

    def __init__(self, calls: Calls, meter: Meter) -> None:
        self._calls = calls
        self.meter = meter

    async def read(self, name: str, given: BaseModel | None = None, **arguments: Any) -> Answered:
        """Make a call that changes nothing. `given`: a model whose fields, as far as set, are arguments."""
        fields = {} if given is None else given.model_dump(exclude_unset=True)
        return await self._calls.call(name, {**arguments, **fields})

    async def change(self, name: str, given: BaseModel | None = None, **arguments: Any) -> Answered:
        """The same for a call that changes something."""
        answered = await self.read(name, given, **arguments)
        await self.meter.look()
        return answered


def _fakes(request: Request) -> Fakes:
    fakes: Fakes = request.app.state.fakes
    return fakes


class _JsonRequest(Request):
    """A request whose body is JSON as RFC 8259 has it: no NaN, and no depth that exceeds the limit of Python's own parser."""

    async def json(self) -> Any:
        return orjson.loads(await self.body())


class CheckedRoute(APIRoute):
    """A route that rejects unknown and repeated parameters, and bodies other than JSON.

    Absent fields of a response stay absent.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "response_model_exclude_unset": True})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of a request: the checks, then FastAPI's own."""
        serve = super().get_route_handler()

        async def checked(request: Request) -> Response:
            if request.query_params:
                self._check_query(request)
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if self.body_field is not None and kind != "application/json":
                raise Problem(415, "the body must be JSON, and content-type must say application/json")
            return await serve(_JsonRequest(request.scope, request.receive))

        return checked

    def _check_query(self, request: Request) -> None:
        operations = request.app.openapi()["paths"][self.path_format]
        method = "get" if request.method == "HEAD" else request.method.lower()
        known = [
            field["name"] for field in operations[method].get("parameters", ()) if field["in"] == "query"
        ]
        names = [name for name, _ in request.query_params.multi_items()]
        for name in names:
            if name not in known:
                raise Problem(
                    400, f"there is no parameter {shown(name)}, but {', '.join(known) or 'none at all'}"
                )
            if names.count(name) > 1:
                raise Problem(400, f"{name} is there twice")


TheFakes = Annotated[Fakes, Depends(_fakes)]
PageQuery = Annotated[requests.PageQuery, Query()]
FilterQuery = Annotated[requests.FilterQuery, Query()]
FilteredPageQuery = Annotated[requests.FilteredPageQuery, Query()]
ChannelQuery = Annotated[requests.ChannelQuery, Query()]


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


looking = APIRouter(prefix="/v1", tags=["looking"], route_class=CheckedRoute)
metrics_page = APIRouter(tags=["looking"], route_class=CheckedRoute)
faults_calls = APIRouter(prefix="/v1/faults", tags=["faults"], route_class=CheckedRoute)
apns = APIRouter(prefix="/v1/apns", tags=["apns"], route_class=CheckedRoute)
fcm = APIRouter(prefix="/v1/fcm", tags=["fcm"], route_class=CheckedRoute)
ROUTERS = (looking, metrics_page, faults_calls, apns, fcm)


@looking.get("/state", response_model=responses.State)
async def state(fakes: TheFakes) -> Answered:
    """Everything that the page shows: rates, percentiles, responses, faults, the last notifications."""
    await fakes.meter.look()
    return fakes.meter.state


@looking.get("/events", response_class=EventStream)
async def events(request: Request, fakes: TheFakes) -> Response:
    """The same as server-sent events: `history` once, then `state` every second and after every change."""
    if request.method == "HEAD":
        return Response(media_type=EventStream.media_type)
    if fakes.meter.watchers >= MAX_WATCHERS:
        raise Problem(503, f"{MAX_WATCHERS} pages look on already")
    return EventStream(_stream(fakes.meter))


async def _stream(meter: Meter) -> AsyncIterator[bytes]:
    meter.watchers += 1
    try:
        await meter.look()
        yield b"retry: 2000\n" + _event("history", meter.history)
        seen = 0
        while (seen := await meter.next(seen)) >= 0:
            yield _event("state", meter.state)
    finally:
        meter.watchers -= 1


def _event(name: str, data: Any) -> bytes:
    """A server-sent event; JSON has no line feeds."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


@looking.get("/counters", response_model=responses.Counters)
async def counted(fakes: TheFakes) -> Answered:
    """Counters since the start or the last reset, by service."""
    return counters(await fakes.read("snapshot", notifications=0))


@metrics_page.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, fakes: TheFakes) -> Response:
    """The counters in Prometheus' text form, or as OpenMetrics for a scraper that accepts it."""
    text, media_type = exposition(
        await fakes.read("snapshot", notifications=0), request.headers.get("accept", "")
    )
    return Response(text, media_type=media_type)


@looking.get("/received", response_model=responses.Received)
async def received(fakes: TheFakes, query: FilteredPageQuery) -> Answered:
    """Requests and their responses, newest first. With the `until` of the first page, pages stay as they are."""
    page = await fakes.read("received", query)
    offset = query.offset + len(page["received"])
    if page["received"] and offset < page["matching"]:
        until = page["received"][0]["time"] if query.until == requests.MAX_TIME else query.until
        given = query.model_dump(exclude_defaults=True)
        page["next"] = f"/v1/received?{urlencode({**given, 'until': f'{until:.9f}', 'offset': offset})}"
    return page


@looking.delete("/received", response_model=responses.Cleared)
async def clear_received(fakes: TheFakes, query: FilterQuery) -> Answered:
    """Delete received requests: all, or those that match the filters."""
    return await fakes.change("clear_received", query)


@looking.post("/reset", response_model=responses.WasReset)
async def reset(fakes: TheFakes, body: requests.ResetBody) -> Answered:
    """Reset everything to the start, or the parts of `what` that are not in `keep`: then the same seed and the same requests
    make the same day. `PUT /v1/faults` with an empty `plan` removes all faults.
    """
    return await fakes.change("reset", body)


@faults_calls.get("", response_model=responses.Faults)
async def faults(fakes: TheFakes) -> Answered:
    """The faults with their state, and the names of the ready-made plans."""
    return await fakes.read("faults")


@faults_calls.put("", response_model=responses.Faults)
async def set_faults(fakes: TheFakes, body: requests.NewPlan) -> Answered:
    """Replace the plan. Its time begins now."""
    return await fakes.change("set_faults", body)


@faults_calls.post("", status_code=201, response_model=responses.FaultEntry)
async def add_fault(fakes: TheFakes, body: requests.NewFault) -> Answered:
    """Add a fault."""
    return await fakes.change("add_fault", fault=body.model_dump())


@faults_calls.put("/{fault_id}", response_model=responses.FaultEntry)
async def replace_fault(fakes: TheFakes, fault_id: requests.FaultId, body: requests.NewFault) -> Answered:
    """Replace the fault of this id, or add it."""
    return await fakes.change("replace_fault", fault_id=fault_id, fault=body.model_dump())


@faults_calls.patch("/{fault_id}", response_model=responses.SwitchedFault)
async def switch_fault(fakes: TheFakes, fault_id: requests.FaultId, body: requests.Switch) -> Answered:
    """Switch a fault on or off."""
    return await fakes.change("switch_fault", body, fault_id=fault_id)


@faults_calls.delete("/{fault_id}", status_code=204, response_model=None)
async def remove_fault(fakes: TheFakes, fault_id: requests.FaultId) -> None:
    """Remove a fault."""
    await fakes.change("remove_fault", fault_id=fault_id)


@apns.get("/devices", response_model=responses.DevicePage)
async def devices(fakes: TheFakes, page: PageQuery) -> Answered:
    """Registered devices and their state."""
    return await fakes.read("devices", page)


@apns.post("/devices", response_model=responses.DevicesAdded)
async def add_devices(fakes: TheFakes, body: requests.NewDevices) -> Answered:
    """Register devices, or change their state. `fate` is what happens to pushes."""
    return await fakes.change("add_devices", body)


@apns.delete("/devices/{token}", status_code=204, response_model=None)
async def remove_device(fakes: TheFakes, token: requests.DeviceToken) -> None:
    """Make a device unknown."""
    await fakes.change("remove_device", token=token)


@apns.get("/keys", response_model=responses.Keys)
async def keys(fakes: TheFakes) -> Answered:
    """Signing keys."""
    return await fakes.read("keys")


@apns.put("/keys/{key_id}", response_model=responses.KeyAdded)
async def add_key(fakes: TheFakes, key_id: requests.KeyId, body: requests.NewKey) -> Answered:
    """Register a signing key, or replace it."""
    return await fakes.change("add_key", body, key_id=key_id)


@apns.delete("/keys/{key_id}", status_code=204, response_model=None)
async def remove_key(fakes: TheFakes, key_id: requests.KeyId) -> None:
    """Revoke a signing key."""
    await fakes.change("remove_key", key_id=key_id)


@apns.get("/topics", response_model=responses.Teams)
async def topics(fakes: TheFakes) -> Answered:
    """The topics of each team."""
    return await fakes.read("topics")


@apns.post("/topics", response_model=responses.TeamTopics)
async def add_topics(fakes: TheFakes, body: requests.NewTopics) -> Answered:
    """Allow a team to push to these topics, on new connections."""
    return await fakes.change("add_topics", body)


@apns.delete("/topics/{team_id}/{topic}", status_code=204, response_model=None)
async def remove_topic(fakes: TheFakes, team_id: requests.KeyId, topic: requests.BundleId) -> None:
    """Forbid a topic to a team."""
    await fakes.change("remove_topic", team_id=team_id, topic=topic)


@apns.get("/channels/{bundle_id}", response_model=responses.ChannelPage)
async def channels(fakes: TheFakes, bundle_id: requests.BundleId, page: PageQuery) -> Answered:
    """The broadcast channels of an app."""
    return await fakes.read("channels", page, bundle_id=bundle_id)


@apns.post("/channels/{bundle_id}", response_model=responses.ChannelsAdded)
async def add_channels(fakes: TheFakes, bundle_id: requests.BundleId, body: requests.NewChannels) -> Answered:
    """Register channels with given ids."""
    return await fakes.change("add_channels", body, bundle_id=bundle_id)


@apns.delete("/channels/{bundle_id}", response_model=responses.Cleared)
async def clear_channels(fakes: TheFakes, bundle_id: requests.BundleId, query: ChannelQuery) -> Answered:
    """Delete the channels of an app, or the named one."""
    return await fakes.change("clear_channels", query, bundle_id=bundle_id)


@apns.patch("/channels/{bundle_id}", response_model=responses.Broadcasting)
async def switch_channels(fakes: TheFakes, bundle_id: requests.BundleId, body: requests.Switch) -> Answered:
    """Enable or disable broadcasts of an app; disabling deletes its channels."""
    return await fakes.change("switch_channels", body, bundle_id=bundle_id)


@fcm.get("/fates", response_model=responses.Fates)
async def fates(fakes: TheFakes, page: PageQuery) -> Answered:
    """Targets with a fate, other than fated tokens, and the fates of the next sends."""
    return await fakes.read("fates", page)


@fcm.post("/fates", response_model=responses.FatesAdded)
async def add_fates(fakes: TheFakes, body: requests.NewFates) -> Answered:
    """Set what happens to sends to these targets, and to the next sends whatever their target."""
    return await fakes.change("add_fates", body)


@fcm.delete("/fates/{target:path}", status_code=204, response_model=None)  # a condition may contain a slash
async def remove_fate(fakes: TheFakes, target: requests.Target) -> None:
    """Make a target an ordinary one."""
    await fakes.change("remove_fate", target=target)


@fcm.get("/subscriptions/{registration}", response_model=responses.SubscribedTopics)
async def subscriptions(fakes: TheFakes, registration: requests.Registration) -> Answered:
    """The topics of a registration."""
    return await fakes.read("subscriptions", registration=registration)


@fcm.post("/subscriptions/{registration}", response_model=responses.SubscribedTopics)
async def subscribe(
    fakes: TheFakes, registration: requests.Registration, body: requests.NewSubscriptions
) -> Answered:
    """Subscribe a registration to topics."""
    return await fakes.change("subscribe", body, registration=registration)


@fcm.delete("/subscriptions/{registration}/{topic}", status_code=204, response_model=None)
async def unsubscribe(fakes: TheFakes, registration: requests.Registration, topic: requests.FcmTopic) -> None:
    """Unsubscribe it from one."""
    await fakes.change("unsubscribe", registration=registration, topic=topic)


@fcm.patch("/oauth", response_model=responses.OAuthState)
async def oauth(fakes: TheFakes, body: requests.OAuthSettings) -> Answered:
    """Change what the token endpoint does; an empty object changes nothing."""
    return await fakes.change("oauth", body)
