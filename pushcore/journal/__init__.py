"""A campaign that survives kill -9: what was sent, and the outcomes, in one SQLite file per process."""

from .campaign import Source as Source
from .journal import Journal as Journal
from .outcome import Outcome as Outcome
from .outcome import id_prefix as id_prefix
from .outcome import push_id as push_id
from .view import JournalView as JournalView
from .view import Status as Status
