"""The errors of a queue:

QueueError                   (a PushcoreError) the root
├── QueueUnavailable         it is unreachable, has disconnected, or did not respond in time: try again later
├── QueueFull                it is out of memory or space; its content is kept: try again when there is space
├── QueueReadOnly            it accepts no writes: a replica, or a user who may only read
├── QueueRefused             it rejects the request: name, password, permissions, or a version that is too old
├── SourceUnavailable        the rows that a chunk refers to cannot be read now: the chunk is released and tried again
├── CampaignConflict         the queue or the ledger has another campaign of this name, or a worker cannot send for it
└── ChunkError               a chunk or a result cannot be read, or is larger than the queue accepts

Messages contain the URL of the queue without its password.
"""

from __future__ import annotations

from ..errors import PushcoreError
from ..redaction import RedactedError


class QueueError(RedactedError, PushcoreError):
    """The root of the exceptions of a queue.

    What to do: read the message; it names the queue or the library that is missing.
    """


class QueueUnavailable(QueueError):
    """The queue is unreachable now. It is unknown whether the last command was executed; every command may be repeated.

    What to do: check the address, the network and the broker; then start the command again. No row is lost.
    """


class QueueFull(QueueError):
    """The queue has no space. Its content is kept, and every command may be repeated.

    What to do: give the broker more memory or disk, or let workers and `pushcore campaign run` empty it; then start the command again.
    """


class QueueReadOnly(QueueError):
    """The queue accepts no writes from this client.

    What to do: connect to the primary instead of a replica, or give the user the permission to write.
    """


class QueueRefused(QueueError):
    """The queue rejects the credentials, or the request because of permissions or its version.

    What to do: correct name, password or permissions, or update the broker; docs/guides/queue.md has the versions.
    """


class SourceUnavailable(QueueError):
    """The rows of a chunk cannot be read now. Raised by the function that makes the pushes; the worker then releases the chunk.

    What to do: make the audience's file or storage readable for the worker. The chunk is tried again by any worker.
    """


class CampaignConflict(QueueError):
    """There are two campaigns of one name, or a worker has other credentials than the campaign needs.

    What to do: choose another name, or give the worker the topic, team, environment or project that the message names.
    """


class ChunkError(QueueError):
    """A chunk or a result is damaged or too large: it is set aside and reported, and not tried again.

    What to do: make smaller chunks (`--chunk`) if it is too large. After a repair, `pushcore campaign resume --aside` tries such chunks again.
    """


LATER = (QueueUnavailable, QueueFull)
"""Errors after which another attempt can succeed."""
