"""Fake push services: real HTTP/2 over TLS, the providers' rules, no provider. Start one with `python -m fakeservers`.

Names are imported when they are first used: pytest imports this package for the fixtures in every environment that has
pushcore, and must neither wait for it nor need its extra.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakeservers.apns.fates import fated_token as fated_token
    from fakeservers.apns.registry import ApnsRegistry as ApnsRegistry
    from fakeservers.apns.registry import DeviceState as DeviceState
    from fakeservers.apns.registry import RegistryError as RegistryError
    from fakeservers.apns.registry import SigningKey as SigningKey
    from fakeservers.apns.server import FakeApns as FakeApns
    from fakeservers.apns.strict import ApnsRecord as ApnsRecord
    from fakeservers.certs import Certificates as Certificates
    from fakeservers.certs import ClientCertificate as ClientCertificate
    from fakeservers.control.server import Control as Control
    from fakeservers.control.service import ControlService as ControlService
    from fakeservers.faults import Fault as Fault
    from fakeservers.faults import FaultError as FaultError
    from fakeservers.faults import FaultPlan as FaultPlan
    from fakeservers.fcm.fates import fated_fid as fated_fid
    from fakeservers.fcm.fates import fated_registration as fated_registration
    from fakeservers.fcm.server import FakeFcm as FakeFcm
    from fakeservers.fcm.service_account import FakeServiceAccount as FakeServiceAccount
    from fakeservers.in_thread import InThread as InThread
    from fakeservers.serving.google_front import FrontEndPolicy as FrontEndPolicy
    from fakeservers.serving.h2peer import Nghttp2Connection as Nghttp2Connection
    from fakeservers.serving.h2server import H2Server as H2Server
    from fakeservers.serving.types import ServerLimits as ServerLimits

_HOMES = {
    "Certificates": "certs",
    "ClientCertificate": "certs",
    "Control": "control.server",
    "ControlService": "control.service",
    "DeviceState": "apns.registry",
    "FakeApns": "apns.server",
    "FakeFcm": "fcm.server",
    "Fault": "faults",
    "FaultError": "faults",
    "FaultPlan": "faults",
    "H2Server": "serving.h2server",
    "InThread": "in_thread",
    "ServerLimits": "serving.types",
    "FrontEndPolicy": "serving.google_front",
    "Nghttp2Connection": "serving.h2peer",
    "ApnsRecord": "apns.strict",
    "FakeServiceAccount": "fcm.service_account",
    "SigningKey": "apns.registry",
    "ApnsRegistry": "apns.registry",
    "RegistryError": "apns.registry",
    "fated_fid": "fcm.fates",
    "fated_registration": "fcm.fates",
    "fated_token": "apns.fates",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605  # it is what __getattr__ knows

if not TYPE_CHECKING:  # to a type checker every name would be one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            exported = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        except ModuleNotFoundError as error:
            from fakeservers.extra import explained

            raise explained(error) from None
        globals()[name] = exported
        return exported
