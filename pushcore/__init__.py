"""A low-level asyncio HTTP/2 push engine: sends notifications straight to APNs and FCM. See README.md.

Everything that a user gives, gets or catches is imported from here. Templates and the names of the queue are imported when
they are first used: a program that only sends does not wait for them.
"""

from .cli.process import interrupts  # noqa: F401  # before all others

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING

from .apns.channels import Channel, Channels
from .apns.client import ApnsClient
from .apns.reasons import REASONS as APNS_REASONS
from .auth.provider_token import ApnsKey, Environment
from .auth.service_account import ServiceAccount
from .engine.breaker import Trip
from .engine.engine import PushEngine
from .engine.rate import Rate
from .engine.retry import RetryPolicy
from .errors import (
    AccessTokenError,
    AlpnError,
    BreakerOpen,
    CertificateError,
    ClosedError,
    ConfigurationError,
    ConnectError,
    ConnectionLost,
    EventLoopError,
    GoAway,
    HeaderListTooLarge,
    JournalError,
    ProtocolError,
    ProxyError,
    PushcoreError,
    PushRejected,
    ResponseTimeout,
    ResponseTooLarge,
    StreamReset,
    TransportError,
)
from .fcm.client import FcmClient
from .fcm.errors import REASONS as FCM_REASONS
from .fcm.instance_id import InstanceInfo
from .fcm.legacy import LegacyFcmClient
from .fcm.legacy_result import LegacyResult
from .fcm.topics import Subscription, TopicChange, Topics
from .http2.protocol import Http2
from .http2.proxy import Proxy
from .http2.tls import ApnsCertificate
from .journal import Journal, JournalView, Outcome, Source, Status, push_id
from .latency import Histogram
from .metrics import Listener, Metrics
from .models.apns import ApnsPriority, ApnsPushType, Broadcast, Notification, PushType
from .models.aps import Alert, Aps, InterruptionLevel, LiveActivityEvent, Localized, Sound
from .models.expo import to_legacy, to_message, to_notification, to_push
from .models.expo_message import ExpoMessage, ExpoPriority
from .models.fcm import LegacyMessage, LegacyNotification, LegacyPriority, Message
from .models.fcm_parts import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    AndroidNotificationV2,
    AndroidPriority,
    ApnsConfig,
    ApnsFcmOptions,
    Color,
    FcmNotification,
    FcmOptions,
    LightSettings,
    NotificationPriority,
    NotificationProxy,
    RemoteNotification,
    Visibility,
    WebpushConfig,
    WebpushFcmOptions,
)
from .models.push_model import PushModel
from .models.tokens import DeviceToken, TokenKind, recognise
from .provider_client import ProviderClient
from .reasons import Reason
from .results import Result, Verdict

if TYPE_CHECKING:
    from .payloads.template import Template
    from .queue.access import Access
    from .queue.brokers.conformance import CHECKS as QUEUE_CHECKS
    from .queue.campaign import CampaignInfo, CampaignState
    from .queue.chunk import Chunk, Reference, inline_chunks
    from .queue.coordinator import CampaignStatus, Coordinator
    from .queue.errors import (
        CampaignConflict,
        ChunkError,
        QueueError,
        QueueFull,
        QueueReadOnly,
        QueueRefused,
        QueueUnavailable,
        SourceUnavailable,
    )
    from .queue.fleet import Fleet
    from .queue.heartbeats import WorkerHeartbeat
    from .queue.leases import WorkerReport
    from .queue.ledger import Ledger, LedgerStatus
    from .queue.opening import open_queue
    from .queue.protocol import Broker, DeliveredResult, Lease, QueueStats, StoredValue
    from .queue.pushes import notifications
    from .queue.worker import Worker

_LATER = {
    "Access": "queue.access",
    "Broker": "queue.protocol",
    "CampaignConflict": "queue.errors",
    "CampaignInfo": "queue.campaign",
    "CampaignState": "queue.campaign",
    "CampaignStatus": "queue.coordinator",
    "Chunk": "queue.chunk",
    "ChunkError": "queue.errors",
    "Coordinator": "queue.coordinator",
    "DeliveredResult": "queue.protocol",
    "Fleet": "queue.fleet",
    "Lease": "queue.protocol",
    "Ledger": "queue.ledger",
    "LedgerStatus": "queue.ledger",
    "QUEUE_CHECKS": "queue.brokers.conformance:CHECKS",
    "QueueError": "queue.errors",
    "QueueFull": "queue.errors",
    "QueueReadOnly": "queue.errors",
    "QueueRefused": "queue.errors",
    "QueueStats": "queue.protocol",
    "QueueUnavailable": "queue.errors",
    "Reference": "queue.chunk",
    "SourceUnavailable": "queue.errors",
    "StoredValue": "queue.protocol",
    "Template": "payloads.template",
    "Worker": "queue.worker",
    "WorkerHeartbeat": "queue.heartbeats",
    "WorkerReport": "queue.leases",
    "inline_chunks": "queue.chunk",
    "notifications": "queue.pushes",
    "open_queue": "queue.opening",
}
"""Where each such name is, and its name there if it has another."""

__all__ = [
    "APNS_REASONS",
    "FCM_REASONS",
    "QUEUE_CHECKS",
    "Access",
    "AccessTokenError",
    "Alert",
    "AlpnError",
    "AndroidConfig",
    "AndroidConfigV2",
    "AndroidNotification",
    "AndroidNotificationV2",
    "AndroidPriority",
    "ApnsCertificate",
    "ApnsClient",
    "ApnsConfig",
    "ApnsFcmOptions",
    "ApnsKey",
    "ApnsPriority",
    "ApnsPushType",
    "Aps",
    "BreakerOpen",
    "Broadcast",
    "Broker",
    "CampaignConflict",
    "CampaignInfo",
    "CampaignState",
    "CampaignStatus",
    "CertificateError",
    "Channel",
    "Channels",
    "Chunk",
    "ChunkError",
    "ClosedError",
    "Color",
    "ConfigurationError",
    "ConnectError",
    "ConnectionLost",
    "Coordinator",
    "DeliveredResult",
    "DeviceToken",
    "Environment",
    "EventLoopError",
    "ExpoMessage",
    "ExpoPriority",
    "FcmClient",
    "FcmNotification",
    "FcmOptions",
    "Fleet",
    "GoAway",
    "HeaderListTooLarge",
    "Histogram",
    "Http2",
    "InstanceInfo",
    "InterruptionLevel",
    "Journal",
    "JournalError",
    "JournalView",
    "Lease",
    "Ledger",
    "LedgerStatus",
    "LegacyFcmClient",
    "LegacyMessage",
    "LegacyNotification",
    "LegacyPriority",
    "LegacyResult",
    "LightSettings",
    "Listener",
    "LiveActivityEvent",
    "Localized",
    "Message",
    "Metrics",
    "Notification",
    "NotificationPriority",
    "NotificationProxy",
    "Outcome",
    "ProtocolError",
    "ProviderClient",
    "Proxy",
    "ProxyError",
    "PushEngine",
    "PushModel",
    "PushRejected",
    "PushType",
    "PushcoreError",
    "QueueError",
    "QueueFull",
    "QueueReadOnly",
    "QueueRefused",
    "QueueStats",
    "QueueUnavailable",
    "Rate",
    "Reason",
    "Reference",
    "RemoteNotification",
    "ResponseTimeout",
    "ResponseTooLarge",
    "Result",
    "RetryPolicy",
    "ServiceAccount",
    "Sound",
    "Source",
    "SourceUnavailable",
    "Status",
    "StoredValue",
    "StreamReset",
    "Subscription",
    "Template",
    "TokenKind",
    "TopicChange",
    "Topics",
    "TransportError",
    "Trip",
    "Verdict",
    "Visibility",
    "WebpushConfig",
    "WebpushFcmOptions",
    "Worker",
    "WorkerHeartbeat",
    "WorkerReport",
    "inline_chunks",
    "notifications",
    "open_queue",
    "push_id",
    "recognise",
    "to_legacy",
    "to_message",
    "to_notification",
    "to_push",
]
__version__ = "0.1.0"

if not TYPE_CHECKING:  # for a type checker every name would exist

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, original = _LATER[name].partition(":")
        value = globals()[name] = getattr(import_module(f".{module}", __name__), original or name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_LATER})
