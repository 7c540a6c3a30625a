"""Arguments of the control port's calls, as Pydantic models, from which checks and the OpenAPI document are made."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fakeservers.apns.channels import CHANNEL_ID, MAX_CHANNEL_ID
from fakeservers.apns.fates import CODES
from fakeservers.control.service import PARTS, Part
from fakeservers.faults import PRESETS
from fakeservers.fcm.fates import FATES

MAX_PAGE = 1000
MAX_OFFSET = 1_000_000
MAX_LIST = 10_000
"""Devices, channels or fates of one call."""
MAX_TOPICS = 1000
"""Topics of one call."""
MAX_TIME = 1e11
"""UNIX seconds: the year 5138."""
MAX_KEYS = 20
"""Fields of a fault or a plan; the plan checks which."""


def _whole_number(value: Any) -> Any:
    """JSON Schema: 1.0 is an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole_number)
"""Placed after the bounds, which the OpenAPI document would not have otherwise."""
DeviceToken: TypeAlias = Annotated[str, Field(max_length=200, pattern="^([0-9a-fA-F]{2})+$")]
BundleId: TypeAlias = Annotated[str, Field(max_length=255, pattern="^[A-Za-z0-9._-]+$")]
ChannelId: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=MAX_CHANNEL_ID, pattern=f"^{CHANNEL_ID.pattern}$")
]
KeyId: TypeAlias = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9]+$")]
Registration: TypeAlias = Annotated[str, Field(max_length=1000, pattern=r"^[\x21-\x7e]+$")]
Target: TypeAlias = Annotated[str, Field(max_length=1000, pattern=r"^[\x20-\x7e]+$")]
FcmTopic: TypeAlias = Annotated[str, Field(max_length=900, pattern="^[A-Za-z0-9_.~%-]+$")]
FaultId: TypeAlias = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
DeviceFate: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": ["", *sorted(CODES.values())]})]
FcmFate: TypeAlias = Annotated[str, Field(json_schema_extra={"enum": sorted(FATES)})]
"""Both, and the names of presets, are checked by `ControlService`, as they are for callers in Python."""


class Body(BaseModel):
    """A JSON body: these fields, and values of exactly these types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Query(BaseModel):
    """Parameters of the query, which are text."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PageQuery(Query):
    """Which part of a list."""

    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    limit: int = Field(100, ge=1, le=MAX_PAGE)


class FilterQuery(Query):
    """Filters of requests; one that is absent or empty matches all."""

    service: Literal["", "apns", "fcm"] = Field("", description="Only this service's.")
    token: str = Field("", max_length=1000, description="Sent to exactly this token.")
    topic: str = Field(
        "", max_length=1000, description="With exactly this `apns-topic`, FCM topic or condition."
    )
    since: float = Field(0.0, ge=0, le=MAX_TIME, description="Not earlier, UNIX seconds.")
    until: float = Field(MAX_TIME, ge=0, le=MAX_TIME, description="Not later, UNIX seconds.")


class FilteredPageQuery(PageQuery, FilterQuery):
    """Which requests, and which part of their list."""


class ChannelQuery(Query):
    """Which channel; all of an app's unless one is given."""

    channel_id: str = Field("", max_length=MAX_CHANNEL_ID, pattern=f"^{CHANNEL_ID.pattern}$")


class ResetBody(Body):
    """The parts to reset: those of `what` that are not in `keep`."""

    what: list[Part] = Field(list(PARTS), min_length=1, max_length=len(PARTS))
    keep: list[Part] = Field([], max_length=len(PARTS))


class NewFault(Body):
    """A fault as in a fault plan, see docs/reference/fakeservers-faults.md."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"maxProperties": MAX_KEYS})

    what: dict[str, Any] | list[dict[str, Any]]


class NewPlan(Body):
    """A plan as in a JSON file, or the name of a preset: one of the two."""

    plan: Annotated[dict[str, Any], Field(max_length=MAX_KEYS)] | None = None
    preset: Annotated[str, Field(json_schema_extra={"enum": list(PRESETS)})] | None = None
    seed: Annotated[int, Field(ge=0, le=2**63 - 1), WHOLE] | None = None
    scale: float = Field(1.0, ge=0.0001, le=10_000, description="What all times are multiplied by.")


class Switch(Body):
    """On or off."""

    enabled: bool


class NewDevice(Body):
    """A device and what happens to pushes to it."""

    token: DeviceToken
    topic: BundleId | None = None
    fate: DeviceFate = ""
    since: Annotated[int, Field(ge=0, le=10**15, description="Milliseconds, with 410."), WHOLE] | None = None


class NewDevices(Body):
    """Devices to register."""

    devices: list[NewDevice] = Field(min_length=1, max_length=MAX_LIST)


class NewKey(Body):
    """A signing key."""

    team_id: KeyId
    pem: str = Field(min_length=1, max_length=4096, description="Of the public or the private half.")
    topics: Annotated[list[BundleId], Field(min_length=1, max_length=MAX_LIST)] | None = None
    environment: Literal["sandbox", "production"] | None = None
    related: KeyId | None = None


class NewTopics(Body):
    """Topics of a team."""

    team_id: KeyId
    topics: list[BundleId] = Field(min_length=1, max_length=MAX_TOPICS)


class NewChannel(Body):
    """A broadcast channel with a given id."""

    channel_id: ChannelId
    policy: Annotated[int, Field(ge=0, le=1, description="1 stores the newest message, 0 none."), WHOLE] = 0


class NewChannels(Body):
    """Channels to register."""

    channels: list[NewChannel] = Field(min_length=1, max_length=MAX_LIST)


class NewFate(Body):
    """What happens to sends to one target."""

    target: Target
    fate: FcmFate


class NewFates(Body):
    """Fates of targets, and of the next sends whatever their target."""

    fates: list[NewFate] = Field([], max_length=MAX_LIST)
    next: list[FcmFate] = Field([], max_length=MAX_LIST)


class NewSubscriptions(Body):
    """Topics to subscribe to."""

    topics: list[FcmTopic] = Field(min_length=1, max_length=MAX_TOPICS)


class OAuthSettings(Body):
    """Settings of the token endpoint; absent ones are not changed."""

    lifetime: (
        Annotated[int, Field(ge=0, le=31_536_000, description="`expires_in` of tokens to come."), WHOLE]
        | None
    ) = None
    delay: Annotated[float, Field(ge=0, le=1e6, description="Seconds by which answers are late.")] | None = (
        None
    )
    down: bool | None = Field(None, description="503 to everything.")
    error: Literal["", "invalid_grant", "invalid_scope", "invalid_request"] | None = None
    tokens: Literal["expire", "forget"] | None = Field(
        None, description="What becomes of those issued so far."
    )
