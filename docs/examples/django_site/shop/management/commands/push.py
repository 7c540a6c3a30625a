"""`manage.py push --title Hi TOKEN …`: a management command with its own event loop and an engine for many pushes."""

from __future__ import annotations

import asyncio
import os
from argparse import ArgumentParser
from collections import Counter

from django.core.management.base import BaseCommand

from pushcore import ApnsClient, ApnsKey, Notification, PushEngine


class Command(BaseCommand):
    """The command."""

    help = "Push one title to the given devices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """See Django."""
        parser.add_argument("--title", required=True)
        parser.add_argument("tokens", nargs="+")

    def handle(self, *args: object, title: str, tokens: list[str], **options: object) -> None:
        """Send, and print the number of pushes by verdict."""
        counts = asyncio.run(send(title, tokens))
        self.stdout.write(", ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items())))


async def send(title: str, tokens: list[str]) -> Counter[str]:
    """Send; returns the number of pushes by verdict. A query set works as well: `(… async for device in Device.objects.all())`."""
    key = ApnsKey.from_file(
        os.environ["APNS_KEY"], key_id=os.environ["APNS_KEY_ID"], team_id=os.environ["APNS_TEAM_ID"]
    )
    url, ca_file = os.environ.get("APNS_URL"), os.environ.get("APNS_CA_FILE")
    apns = ApnsClient(key, topic=os.environ["APNS_TOPIC"], url=url, ca_file=ca_file)
    pushes = (Notification(token, {"aps": {"alert": {"title": title}}}) for token in tokens)
    async with PushEngine(apns) as engine:
        return Counter([result.verdict.name async for result in engine.send_many(pushes)])
