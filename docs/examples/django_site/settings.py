"""Settings of the example: no database, one app."""

from __future__ import annotations

import secrets

SECRET_KEY = secrets.token_hex()
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "shop.urls"
