"""Fake push services: real HTTP/2 over TLS, the providers' rules, no provider. Start one with `python -m fakeservers`.

Names are imported when they are first used: pytest imports this package for the fixtures in every environment that has
pushcore, and must neither wait for it nor need its extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.apns import FakeApns as FakeApns
    from fakeservers.apns_strict import Received as Received
    from fakeservers.certs import Certificates as Certificates
    from fakeservers.certs import ClientCertificate as ClientCertificate
    from fakeservers.control import Control as Control
    from fakeservers.control_desk import Desk as Desk
    from fakeservers.fates import fated_token as fated_token
    from fakeservers.faults import Fault as Fault
    from fakeservers.faults import FaultError as FaultError
    from fakeservers.faults import FaultPlan as FaultPlan
    from fakeservers.fcm import FakeFcm as FakeFcm
    from fakeservers.fcm_fates import fated_fid as fated_fid
    from fakeservers.fcm_fates import fated_registration as fated_registration
    from fakeservers.google_account import ServiceAccount as ServiceAccount
    from fakeservers.google_front import Manners as Manners
    from fakeservers.h2server import H2Server as H2Server
    from fakeservers.h2server import Limits as Limits
    from fakeservers.h2server import Peer as Peer
    from fakeservers.in_thread import InThread as InThread
    from fakeservers.world import Device as Device
    from fakeservers.world import SigningKey as SigningKey
    from fakeservers.world import World as World
    from fakeservers.world import WorldError as WorldError

_HOMES = {
    "Certificates": "certs",
    "ClientCertificate": "certs",
    "Control": "control",
    "Desk": "control_desk",
    "Device": "world",
    "FakeApns": "apns",
    "FakeFcm": "fcm",
    "Fault": "faults",
    "FaultError": "faults",
    "FaultPlan": "faults",
    "H2Server": "h2server",
    "InThread": "in_thread",
    "Limits": "h2server",
    "Manners": "google_front",
    "Peer": "h2server",
    "Received": "apns_strict",
    "ServiceAccount": "google_account",
    "SigningKey": "world",
    "World": "world",
    "WorldError": "world",
    "fated_fid": "fcm_fates",
    "fated_registration": "fcm_fates",
    "fated_token": "fates",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # it is what __getattr__ knows


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from fakeservers.extra import explained

        raise explained(error) from None
    globals()[name] = found
    return found
