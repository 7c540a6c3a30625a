"""A network of its own for senders whose host is fixed: Apple's and Google's names lead to this machine, on port 443.

The namespaces of Linux make it, for an ordinary user, too: nothing on the machine outside changes.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Final

from fakeservers.impersonation import HOSTS

APNS_ADDRESS: Final = "127.0.0.1"
FCM_ADDRESS: Final = "127.0.0.2"
NAMES: Final = {name: FCM_ADDRESS if service == "fcm" else APNS_ADDRESS for name, service in HOSTS.items()}
"""The hosts of Apple's and Google's, and the address of what answers for each."""

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def unavailable() -> str:
    """Why there can be no such network here; empty where there can."""
    if shutil.which("unshare") is None:
        return "unshare is not installed (Debian's package util-linux)"
    tried = subprocess.run(
        [*command(), "true"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


def command() -> list[str]:
    """What a command must begin with to run in a network of its own."""
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *as_root, "--mount", "--net", "--"]


def enter(directory: Path) -> None:
    """Within such a network: bring loopback up, and let the names lead to this machine.

    Args:
        directory: where the file of hosts may be written.

    Raises:
        OSError: it cannot be done.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = b"lo".ljust(16, b"\0")
        flags = struct.unpack("16xh", fcntl.ioctl(control, _SIOCGIFFLAGS, name + bytes(2))[:18])[0]
        fcntl.ioctl(control, _SIOCSIFFLAGS, name + struct.pack("h", flags | _IFF_UP) + bytes(14))
    file = directory / "hosts"
    lines = [("localhost", "127.0.0.1"), *NAMES.items()]
    file.write_text("".join(f"{address} {name}\n" for name, address in lines))
    subprocess.run(["mount", "--bind", str(file), "/etc/hosts"], check=True, capture_output=True)
