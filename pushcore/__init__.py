"""A low-level asyncio HTTP/2 push engine: sends notifications straight to APNs. See README.md."""

from .apns.client import ApnsClient
from .auth.provider_token import ApnsKey
from .engine.engine import PushEngine
from .errors import PushcoreError
from .http2.tls import ClientCertificate as ApnsCertificate
from .models.apns import Alert, Aps, Notification, Sound
from .results import Result, Verdict

__all__ = [
    "Alert",
    "ApnsCertificate",
    "ApnsClient",
    "ApnsKey",
    "Aps",
    "Notification",
    "PushEngine",
    "PushcoreError",
    "Result",
    "Sound",
    "Verdict",
]
__version__ = "0.1.0"
