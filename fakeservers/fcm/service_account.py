"""An invented Google service account: an RSA key, an e-mail address, and the file for clients."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakeservers.certs import write_private
from fakeservers.serving.small_files import read_small

PROJECT_ID = "fake-project"
PROJECT_NUMBER = "123456789012"
"""Google accepts it instead of the id, and apps have it as their sender id."""
SERVER_KEY = "AAAAfake0000:APA91b" + "FakeServerKey" * 10
"""Of the legacy API; no secret, like everything here."""
FILE_NAME = "service-account.json"
_KEY_BITS = 2048


@dataclass(frozen=True, slots=True)
class FakeServiceAccount:
    """One account with one key."""

    project_id: str
    client_email: str
    key_id: str
    key: rsa.RSAPrivateKey

    @classmethod
    def create(cls, project_id: str = PROJECT_ID, name: str = "pusher") -> FakeServiceAccount:
        """An account with the process's only RSA key: making one takes long."""
        return cls._of(project_id, f"{name}@{project_id}.iam.gserviceaccount.com", _shared_key())

    @classmethod
    def from_file(cls, path: Path) -> FakeServiceAccount:
        """Read the account from a file of `write`.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no service account's file.
        """
        try:
            document = orjson.loads(read_small(path))
            key = serialization.load_pem_private_key(document["private_key"].encode(), None)
            project_id, email = document["project_id"], document["client_email"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} is not a service account's file") from error
        if (
            not isinstance(key, rsa.RSAPrivateKey)
            or not isinstance(project_id, str)
            or not isinstance(email, str)
        ):
            raise ValueError(f"{path.name} is not a service account's file")
        return cls._of(project_id, email, key)

    @classmethod
    def _of(cls, project_id: str, email: str, key: rsa.RSAPrivateKey) -> FakeServiceAccount:
        der = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(project_id, email, hashlib.sha256(der).hexdigest()[:40], key)

    def write(self, path: Path, token_uri: str) -> None:
        """Write the file as from Google's console, readable by its owner alone.

        Raises:
            OSError: it cannot be written.
        """
        pem = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account",
            "project_id": self.project_id,
            "private_key_id": self.key_id,
            "private_key": pem.decode(),
            "client_email": self.client_email,
            "client_id": str(int(self.key_id[:16], 16)).zfill(21),
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_uri,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "client_x509_cert_url": "https://www.googleapis.com/robot/v1/metadata/x509/"
            + self.client_email.replace("@", "%40"),
            "universe_domain": "googleapis.com",
        }
        write_private(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@functools.cache
def _shared_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65_537, _KEY_BITS)
