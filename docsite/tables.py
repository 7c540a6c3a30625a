"""The page of fates, from the fakes' tables."""

from __future__ import annotations

from docsite.markdown import table
from fakeservers.apns import fates as apns
from fakeservers.fcm import fates as fcm
from fakeservers.responses.apns import STATUSES


def fates() -> str:
    """The page of fates: a device token and a registration token for each."""
    return "\n".join(
        [
            "# Fates\n",
            "A token can carry what happens to a push to it; `fates.csv` in the fakes' directory has the same tokens.",
            "[Fated tokens](fakeservers.md#fated-tokens) says what those without a status do. In Python,",
            "`fakeservers.fated_token(fate)` and `fakeservers.fcm.fates.fated_registration(fate)` return them.\n",
            "## APNs\n",
            table(
                ("fate", "status", "device token"),
                [
                    (f"`{fate}`", str(STATUSES.get(fate, "")), f"`{apns.fated_token(fate)}`")
                    for fate in apns.CODES.values()
                ],
            ),
            "## FCM\n",
            table(
                ("fate", "status", "installation id; a registration token begins so"),
                [
                    (
                        f"`{fate}`",
                        "" if fate in fcm.TRANSPORT else code[:3] if code[0] != "0" else "200",
                        f"`{fcm.fated_fid(fate)}`",
                    )
                    for code, fate in fcm.CODES.items()
                ],
            ),
        ]
    )
