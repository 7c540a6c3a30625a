"""A low-level asyncio HTTP/2 push engine: sends notifications straight to APNs and FCM. See README.md."""

from .apns.channels import Channel, Channels
from .apns.client import ApnsClient
from .auth.provider_token import ApnsKey
from .auth.service_account import ServiceAccount
from .engine.engine import PushEngine
from .engine.rate import Rate
from .engine.retry import RetryPolicy
from .errors import BreakerOpen, JournalError, PushcoreError
from .fcm.client import FcmClient
from .fcm.instance_id import InstanceInfo
from .fcm.legacy import LegacyFcmClient
from .fcm.legacy_result import LegacyResult
from .fcm.topics import Subscription, TopicChange, Topics
from .http2.proxy import Proxy
from .http2.tls import ApnsCertificate
from .journal.journal import Journal
from .metrics import Listener, Metrics
from .models.apns import Alert, Aps, Broadcast, Notification, Sound
from .models.expo_message import ExpoMessage
from .models.fcm import LegacyMessage, LegacyNotification, Message
from .models.fcm_parts import (
    AndroidConfig,
    AndroidConfigV2,
    AndroidNotification,
    AndroidNotificationV2,
    ApnsConfig,
    ApnsFcmOptions,
    Color,
    FcmNotification,
    FcmOptions,
    LightSettings,
    RemoteNotification,
    WebpushConfig,
    WebpushFcmOptions,
)
from .results import Result, Verdict

__all__ = [
    "Alert",
    "AndroidConfig",
    "AndroidConfigV2",
    "AndroidNotification",
    "AndroidNotificationV2",
    "ApnsCertificate",
    "ApnsClient",
    "ApnsConfig",
    "ApnsFcmOptions",
    "ApnsKey",
    "Aps",
    "BreakerOpen",
    "Broadcast",
    "Channel",
    "Channels",
    "Color",
    "ExpoMessage",
    "FcmClient",
    "FcmNotification",
    "FcmOptions",
    "InstanceInfo",
    "Journal",
    "JournalError",
    "LegacyFcmClient",
    "LegacyMessage",
    "LegacyNotification",
    "LegacyResult",
    "LightSettings",
    "Listener",
    "Message",
    "Metrics",
    "Notification",
    "Proxy",
    "PushEngine",
    "PushcoreError",
    "Rate",
    "RemoteNotification",
    "Result",
    "RetryPolicy",
    "ServiceAccount",
    "Sound",
    "Subscription",
    "TopicChange",
    "Topics",
    "Verdict",
    "WebpushConfig",
    "WebpushFcmOptions",
]
__version__ = "0.1.0"
