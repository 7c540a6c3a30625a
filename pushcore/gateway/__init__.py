"""An HTTP service on the engine: pushes as plain JSON, for programs in any language. Needs the extra `gateway`.

`create_app` makes the ASGI application, `GatewayConfig` says what it serves. `pushcore gateway` runs it.
"""

from .app import create_app
from .config import GatewayConfig
from .config_file import read_config

__all__ = ["GatewayConfig", "create_app", "read_config"]
