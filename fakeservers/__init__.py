"""Fake push services: real HTTP/2 over TLS, the providers' rules, no provider. Start one with `python -m fakeservers`."""

from fakeservers.apns import FakeApns
from fakeservers.apns_strict import Received
from fakeservers.certs import Certificates, ClientCertificate
from fakeservers.fates import fated_token
from fakeservers.fcm import FakeFcm
from fakeservers.fcm_fates import fated_fid, fated_registration
from fakeservers.google_account import ServiceAccount
from fakeservers.google_front import Manners
from fakeservers.h2server import H2Server, Limits, Peer
from fakeservers.world import Device, SigningKey, World, WorldError

__all__ = [
    "Certificates",
    "ClientCertificate",
    "Device",
    "FakeApns",
    "FakeFcm",
    "H2Server",
    "Limits",
    "Manners",
    "Peer",
    "Received",
    "ServiceAccount",
    "SigningKey",
    "World",
    "WorldError",
    "fated_fid",
    "fated_registration",
    "fated_token",
]
