"""The target in C with a constant response (`bench/target/`), built on demand, and its replacement where it cannot be built."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fakeservers.certs import Certificates
from fakeservers.fcm.service_account import FILE_NAME, FakeServiceAccount

from ..harness.stage import (
    ROOT,
    SCRATCH,
    SERVER_CORE,
    CannotMeasure,
    Target,
    end,
    fake,
    first_line,
    nghttpd,
    start_on,
)

KINDS: Final = ("auto", "c", "bare", "nghttpd")
TOPIC: Final = "com.example.app"
LIFETIME: Final = 3600
"""Seconds after which the target ends by itself."""


@functools.cache
def build() -> Path:
    """The program, built again if its source has changed.

    Raises `CannotMeasure` with the reason when it cannot be built here.
    """
    if not sys.platform.startswith("linux"):
        raise CannotMeasure("the C target needs Linux: it waits with epoll")
    for tool in ("make", "cc"):
        if shutil.which(tool) is None:
            raise CannotMeasure(f"the C target needs {tool}: Debian's packages gcc and make")
    place = SCRATCH / "target"
    made = subprocess.run(
        ["make", "-s", "-C", str(ROOT / "bench" / "target"), f"OUT={place}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if made.returncode:
        missing = "nghttp2.h" in made.stderr or "openssl/" in made.stderr or "-lnghttp2" in made.stderr
        hint = (
            "Debian's packages libnghttp2-dev and libssl-dev are missing" if missing else made.stderr[-500:]
        )
        raise CannotMeasure(f"the C target cannot be built: {hint}")
    return place / "target"


@contextlib.contextmanager
def constant(
    provider: str,
    *,
    delay_ms: float = 0.0,
    window: str = "large",
    updates: str = "half",
    refuse: int = 0,
    inside: Sequence[str] = (),
) -> Iterator[Target]:
    """The C target on the server's core, with its own credentials, which it does not check.

    `delay_ms`: from the end of a request to its response. `window`: `large`, or `apple` for Apple's SETTINGS and its
    65 535 bytes. `updates`: WINDOW_UPDATEs at `half` of the window or for `each` read. `refuse`: per cent of the
    requests that are rejected. `inside`: a command that runs another one, such as `ip netns exec NAME`.
    """
    program = build()
    with tempfile.TemporaryDirectory() as directory:
        certs = Certificates.create(directory)
        command = [str(program), "--certificate", str(certs.server_file), "--key", str(certs.server_file)]
        command += ["--provider", provider, "--window", window, "--updates", updates, "--refuse", str(refuse)]
        command += ["--streams", "100" if provider == "fcm" else "1000", "--lifetime", str(LIFETIME)]
        command += ["--delay-us", str(round(delay_ms * 1000))]
        process = start_on(SERVER_CORE, [*inside, *command], stdout=subprocess.PIPE)
        try:
            line = first_line(process)
            if not line.startswith("listening on "):
                raise CannotMeasure("the C target did not start; what it said is above")
            url = line.removeprefix("listening on ").strip()
            settings = {"topic": TOPIC, "key_file": str(certs.key_file)}
            settings |= {"key_id": certs.key_id, "team_id": certs.team_id}
            if provider == "fcm":
                account = FakeServiceAccount.create()
                account.write(Path(directory) / FILE_NAME, f"{url}/token")
                settings = {
                    "service_account_file": str(Path(directory) / FILE_NAME),
                    "project_id": account.project_id,
                }
            yield Target("c", provider, url, str(certs.ca_file), process.pid, settings, list(inside))
        finally:
            end(process)


@contextlib.contextmanager
def target(
    kind: str,
    provider: str,
    *,
    delay_ms: float = 0.0,
    window: str = "large",
    updates: str = "half",
    refuse: int = 0,
    inside: Sequence[str] = (),
) -> Iterator[Target]:
    """A server of the wanted kind. `auto` is the C target if it can be built, otherwise a fake; its name says which.

    The bare fake replaces the C target. For Apple's window and for rejections the strict fake replaces it: that one
    rejects the tokens that contain such a fate.

    Raises `CannotMeasure` if this kind cannot do what the arguments say.
    """
    if kind == "auto":
        kind = "c" if why_no_c_target() is None else "fake"
    if kind == "c":
        made = constant(
            provider, delay_ms=delay_ms, window=window, updates=updates, refuse=refuse, inside=inside
        )
        with made as target:
            yield target
    elif kind == "nghttpd":
        if delay_ms or window != "large" or refuse or inside:
            raise CannotMeasure("nghttpd has neither delays nor refusals nor another window")
        with fake(provider, "bare") as like, nghttpd(like) as target:
            yield target
    else:
        if kind == "bare" and refuse:
            raise CannotMeasure("the bare fake refuses nothing")
        profile = "strict" if kind == "fake" and (window == "apple" or refuse) else "bare"
        with fake(provider, profile, "--delay-ms", str(round(delay_ms)), inside=inside) as target:
            yield target


def why_no_c_target() -> str | None:
    """Why the C target cannot be built here; None if it can."""
    try:
        build()
    except CannotMeasure as error:
        return str(error)
    return None
