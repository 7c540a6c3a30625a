"""Fake push services: real HTTP/2 over TLS, the providers' rules, no provider. Start one with `python -m fakeservers`."""

from fakeservers.apns import FakeApns
from fakeservers.apns_strict import Received
from fakeservers.certs import Certificates, ClientCertificate
from fakeservers.fates import fated_token
from fakeservers.h2server import H2Server, Limits, Peer
from fakeservers.world import Device, SigningKey, World, WorldError

__all__ = [
    "Certificates",
    "ClientCertificate",
    "Device",
    "FakeApns",
    "H2Server",
    "Limits",
    "Peer",
    "Received",
    "SigningKey",
    "World",
    "WorldError",
    "fated_token",
]
