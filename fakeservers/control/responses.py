"""Results of the control port's calls, as Pydantic models. A field that is not declared here makes the call fail."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Response(BaseModel):
    """A JSON object of these fields; those with a default may be absent."""

    model_config = ConfigDict(extra="forbid")


class ProblemDocument(Response):
    """A problem as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str


class ResponseCount(Response):
    """Number of responses with this status and reason; status 0: no response."""

    status: int
    reason: str
    count: int


class Service(Response):
    """One fake: what is open now, and counters since the start or the last reset."""

    url: str
    profile: str
    received: int
    """Pushes: each is `accepted`, `rejected`, `unprocessed` or `cut`. Token requests, topics and channels are not counted."""
    accepted: int
    rejected: int
    unprocessed: int
    cut: int
    answers: list[ResponseCount]
    connections: int
    streams: int
    requests: int
    connections_accepted: int
    connections_refused: int
    connections_turned_away: int
    handshakes_failed: int
    streams_over_limit: int
    streams_refused: int
    streams_reset_by_server: int
    streams_reset_by_client: int
    goaways: int
    goaway_unprocessed: int
    goaways_received: int
    protocol_errors: int


class Percentiles(Response):
    """Seconds from a request's arrival to its response; None when there was none."""

    p50: float | None
    p90: float | None
    p99: float | None


class LatencySummary(Percentiles):
    """The same since the start or the last reset."""

    answers: int
    seconds: float


class CountedService(Service):
    """A fake and how long its responses took."""

    latency: LatencySummary


class Counters(Response):
    """The counters of all fakes."""

    services: dict[str, CountedService]
    processes: list[int]


class Rates(Percentiles):
    """One second of one fake; its percentiles are over the last ten."""

    rate: float
    connections: int
    streams: int


class Point(Response):
    """One second."""

    time: float
    services: dict[str, Rates]


class FaultEntry(Response):
    """A fault as in a plan."""

    id: str
    name: str = ""
    description: str = ""
    enabled: bool = True
    when: dict[str, Any] = {}
    what: dict[str, Any] | list[dict[str, Any]]


class FaultStatus(FaultEntry):
    """A fault of the plan in force, and its number of hits."""

    in_force: bool
    hits: int


class PlanHead(Response):
    """Which plan is in force."""

    name: str = ""
    seed: int = 0


class Faults(Response):
    """The plan in force, and the names of presets."""

    plan: PlanHead
    faults: list[FaultStatus]
    presets: list[str]


class ShownNotification(Response):
    """A push as a phone would show it."""

    service: str
    time: float
    token: str
    topic: str
    status: int
    reason: str
    silent: bool
    title: str = ""
    subtitle: str = ""
    body: str = ""
    badge: str = ""
    image: str = ""
    sound: str = ""
    raw: str


class State(Faults):
    """Everything that the page shows."""

    services: dict[str, Service]
    notifications: list[ShownNotification]
    processes: list[int]
    now: Point


class ReceivedRequest(Response):
    """A request and its response; its body as JSON, as base64, or truncated."""

    service: str
    time: float
    token: str
    topic: str
    status: int
    reason: str
    connection: int
    headers: dict[str, str]
    body_bytes: int
    payload: Any = None
    body_base64: str = ""
    body_cut: str = ""


class Received(Response):
    """Requests, newest first; `next` is the path of the next page."""

    received: list[ReceivedRequest]
    matching: int
    next: str = ""


class Cleared(Response):
    """Number of deleted items."""

    cleared: int


class WasReset(Response):
    """The parts that were reset."""

    reset: list[str]


class SwitchedFault(Response):
    """A fault that is on or off now."""

    id: str
    enabled: bool


class DeviceEntry(Response):
    """A registered device."""

    token: str
    topic: str | None
    fate: str
    since: int | None


class DevicePage(Response):
    """Registered devices in the order in which they were registered."""

    devices: list[DeviceEntry]
    matching: int


class DevicesAdded(Response):
    """How many devices the call had."""

    devices: int


class Key(Response):
    """A signing key, without the key."""

    key_id: str
    team_id: str
    topics: list[str] | None
    environment: str | None
    related: str | None


class Keys(Response):
    """The signing keys."""

    keys: list[Key]


class KeyAdded(Response):
    """The key that is registered now."""

    key_id: str


class Teams(Response):
    """The topics of each team."""

    teams: dict[str, list[str]]


class TeamTopics(Response):
    """The topics of one team."""

    team_id: str
    topics: list[str]


class ChannelEntry(Response):
    """A broadcast channel."""

    channel_id: str
    policy: int


class ChannelPage(Response):
    """The channels of an app, and whether it may broadcast."""

    channels: list[ChannelEntry]
    matching: int
    enabled: bool


class ChannelsAdded(Response):
    """How many channels the call had."""

    channels: int


class Broadcasting(Response):
    """Whether an app may broadcast now."""

    bundle_id: str
    enabled: bool


class TargetFate(Response):
    """What happens to sends to a target."""

    target: str
    fate: str


class Fates(Response):
    """Targets with a fate, other than fated tokens, and the fates of the next sends."""

    fates: list[TargetFate]
    next: list[str]
    matching: int


class FatesAdded(Response):
    """How many targets the call had, and how many sends have their fate now."""

    fates: int
    next: int


class SubscribedTopics(Response):
    """The topics of a registration, and when each was subscribed to (UNIX seconds)."""

    registration: str
    topics: dict[str, float]


class OAuthState(Response):
    """What the token endpoint does."""

    lifetime: int
    delay: float
    down: bool
    error: str
