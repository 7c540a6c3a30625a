"""What a fake leaves in its directory besides `apns.json` and `fcm.json`: client certificates, and tokens with their fates."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakeservers.apns import fates as apns_fates
from fakeservers.certs import Certificates, write_private
from fakeservers.fcm import fates as fcm_fates
from fakeservers.responses.apns import STATUSES

PASSPHRASE = b"fake"
"""Of the `.p12` files: Java and Node want one."""
FATES_FILE = "fates.csv"
TAKEN = frozenset({"ca", "ca-key", "server"})
"""Names of files that a client certificate must not replace."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
_BUNDLE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class WantedCertificate:
    """A client certificate that the command line asks for."""

    name: str
    """Of its files, without an ending."""
    topics: tuple[str, ...]


def wanted_certificate(text: str) -> WantedCertificate:
    """What `--client-cert NAME:TOPIC,...` asks for.

    Raises:
        argparse.ArgumentTypeError: the name is none of a file, or a topic is no bundle id.
    """
    name, colon, listed = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is not NAME:TOPIC, or NAME:TOPIC,TOPIC")
    if _NAME.fullmatch(name) is None or name in TAKEN or name.startswith("AuthKey_"):
        raise argparse.ArgumentTypeError(
            f"{name[:80]!r} is no name for a file: letters, digits, - and _, not ca or server"
        )
    topics = tuple(topic.strip() for topic in listed.split(","))
    for topic in topics:
        if _BUNDLE_ID.fullmatch(topic) is None or len(topic) > 255:
            raise argparse.ArgumentTypeError(
                f"{topic[:80]!r} is no bundle id: letters, digits, hyphens, and dots between them, as com.example.app"
            )
    return WantedCertificate(name, topics)


def check_names(requested: Iterable[WantedCertificate]) -> None:
    """Raises `ValueError` when two certificates would have the same files."""
    seen: set[str] = set()
    for certificate in requested:
        if certificate.name in seen:
            raise ValueError(f"--client-cert names {certificate.name} twice; expected different names")
        seen.add(certificate.name)


def write_certificates(certs: Certificates, requested: Iterable[WantedCertificate]) -> None:
    """Write `NAME.pem` (certificate and key) and `NAME.p12` (passphrase `fake`) for each.

    Raises:
        OSError: a file cannot be written.
    """
    for certificate in requested:
        issued = certs.client_certificate(certificate.topics[0], topics=certificate.topics[1:])
        write_private(certs.directory / f"{certificate.name}.pem", issued.pem())
        write_private(certs.directory / f"{certificate.name}.p12", issued.pkcs12(PASSPHRASE))


def write_fates(directory: Path, services: Sequence[str]) -> None:
    """Write `fates.csv`: a device or registration token for each fate, with the status that it leads to.

    Raises:
        OSError: it cannot be written.
    """
    with open(directory / FATES_FILE, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("provider", "fate", "status", "token"))
        if "apns" in services:
            for fate in apns_fates.CODES.values():
                rows.writerow(("apns", fate, STATUSES.get(fate, ""), apns_fates.fated_token(fate)))
        if "fcm" in services:
            for code, fate in fcm_fates.CODES.items():
                status = "" if fate in fcm_fates.TRANSPORT else 200 if code.startswith("0") else int(code[:3])
                rows.writerow(("fcm", fate, status, fcm_fates.fated_registration(fate)))
