"""The errors of a queue:

QueueError                   (a PushcoreError) the root
├── QueueUnavailable         it cannot be reached, went away, or did not answer in time: try again later
├── QueueFull                it is out of memory or space; nothing that it has is lost: try again when there is room
├── QueueReadOnly            it takes no writes: a replica, or a user who may only read
├── QueueRefused             it does not permit this: name, password, rights, or a version that is too old
├── SourceUnavailable        the rows that a chunk refers to cannot be read now: it is given back and tried again
├── CampaignConflict         the queue or the ledger has another campaign of this name, or a worker cannot send for it
└── ChunkError               a chunk or a result cannot be read, or is larger than the queue takes

Messages name the queue without its password.
"""

from __future__ import annotations

from ..errors import PushcoreError
from ..redaction import RedactedError


class QueueError(RedactedError, PushcoreError):
    """The root of what a queue can raise."""


class QueueUnavailable(QueueError):
    """Not now. Whether the last command was carried out is not known; every command may be given again."""


class QueueFull(QueueError):
    """There is no room for this. What is there stays, and everything may be tried again."""


class QueueReadOnly(QueueError):
    """The queue takes no writes from us."""


class QueueRefused(QueueError):
    """The queue rejects the credentials, or not do this."""


class SourceUnavailable(QueueError):
    """The rows of a chunk cannot be read now. Raised by the function that makes the pushes; the chunk is then given back."""


class CampaignConflict(QueueError):
    """Two campaigns of one name, or a worker with other credentials than the campaign needs."""


class ChunkError(QueueError):
    """A chunk or a result is damaged or too large: it is set aside and reported, and not tried for ever."""


LATER = (QueueUnavailable, QueueFull)
"""What waiting can cure."""
