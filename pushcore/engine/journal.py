"""Deprecated: import these from `pushcore.journal`. Programs written before the journal had a room of its own still run."""

from __future__ import annotations

from ..journal import Journal as Journal
from ..journal import JournalView as JournalView
from ..journal import Outcome as Outcome
from ..journal import Source as Source
from ..journal import Status as Status
from ..journal import id_prefix as id_prefix
from ..journal import push_id as push_id
