"""The description and the state of a campaign, and their names in the store."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from ..arguments import check_type, check_whole
from .chunk import CHUNK_ROWS, MAX_ROWS
from .errors import CampaignConflict, ChunkError
from .protocol import Store, campaign_name, overwrite

INFO: Final = "info"
STATE: Final = "state"
TRIP: Final = "trip"
RELEASED: Final = "released-"
"""Before a chunk's number: how many of its leases ended because a worker released the chunk and had reported every row that
it sent. All other leases expired, and it is unknown which of their rows were sent."""
PROGRESS: Final = "progress-"
"""Before a chunk's number: the rows that have an outcome, if a worker has recorded them before the chunk is finished."""


class CampaignState(enum.Enum):
    """The state of a campaign that workers must obey."""

    RUNNING = "running"
    """Send."""
    PAUSED = "paused"
    """Send nothing more and wait; leased chunks stay leased."""
    CANCELLED = "cancelled"
    """Send nothing more, release unsent rows, and end."""
    FINISHED = "finished"
    """Every row has an outcome: end."""


@dataclass(frozen=True, slots=True)
class CampaignInfo:
    """The description of a campaign for its workers.

    Attributes:
        name: 1 to 64 letters, digits, hyphens and underscores.
        fingerprint: of its source and options; it distinguishes two campaigns of one name.
        chunk_rows: rows of a chunk, 1 to 10 000; only the last chunk may have fewer.
        needs: the credentials that a worker must have, such as {"apns": {"topic": "com.example.app", "team": "TEAM123456"}},
            without secrets.
        options: JSON values without secrets, for the function that makes the pushes.

    Raises:
        ConfigurationError: a field is out of bounds or of a wrong type.
    """

    name: str
    fingerprint: str
    chunk_rows: int = CHUNK_ROWS
    needs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        campaign_name(self.name)
        check_type("fingerprint", self.fingerprint, str, "a string")
        check_whole("chunk_rows", self.chunk_rows, least=1, most=MAX_ROWS)
        check_type("options", self.options, Mapping, "a mapping")
        check_type("needs", self.needs, Mapping, "a mapping")
        for provider, needed in self.needs.items():
            check_type(f"needs[{provider!r:.40}]", needed, Mapping, "a mapping")

    def encode(self) -> bytes:
        """Encode it for the store."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def decode(cls, data: bytes) -> CampaignInfo:
        """Decode the output of `encode`.

        Raises:
            ChunkError: the data is not from `encode`.
        """
        try:
            return cls(**orjson.loads(data))
        except (ValueError, TypeError):  # a ConfigurationError is a ValueError
            raise ChunkError("the campaign's description in the queue cannot be read") from None

    def check(self, offers: Mapping[str, Any]) -> None:
        """Check that a worker with these credentials can send for the campaign.

        Raises:
            CampaignConflict: it cannot; the message names the difference.
        """
        for provider, needed in self.needs.items():
            has = offers.get(provider)
            if has is None:
                raise CampaignConflict(f"campaign {self.name} needs {provider}, and this worker has none")
            for key, value in needed.items():
                if has.get(key) != value:
                    raise CampaignConflict(
                        f"campaign {self.name} needs {key} {value!r} for {provider}, and this worker has {has.get(key)!r}"
                    )


async def announce(store: Store, info: CampaignInfo) -> None:
    """Write the description of the campaign to the store. Raises `CampaignConflict` if there is another one with its name."""
    if await store.write(INFO, info.encode(), 0):
        return
    note = await store.read(INFO)
    known = CampaignInfo.decode(note.value)
    if known.fingerprint != info.fingerprint or known.chunk_rows != info.chunk_rows:
        raise CampaignConflict(
            f"the queue has another campaign with the name {info.name}; expected another name, or cancel that campaign"
        )


async def read_info(store: Store) -> CampaignInfo | None:
    """The campaign's description; None if the store has none yet."""
    note = await store.read(INFO)
    return CampaignInfo.decode(note.value) if note.revision else None


async def read_state(store: Store) -> CampaignState:
    """The state that workers must obey; an unreadable value counts as running."""
    note = await store.read(STATE)
    try:
        return CampaignState(note.value.decode()) if note.revision else CampaignState.RUNNING
    except ValueError:
        return CampaignState.RUNNING


async def set_state(store: Store, state: CampaignState) -> None:
    """Write the state that workers must obey."""
    await overwrite(store, STATE, state.value.encode())
