# mypy: ignore-errors
# sender: aioapns
# provider: apns
# install: aioapns==4.0 setuptools<81
# streams: 100
# reached: hosts
# how: hosts file and port 443; `ssl_context` is an option
import asyncio
import ssl
from pathlib import Path

from aioapns import APNs, NotificationRequest, PushType
from sending import given, send_all


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    context.set_alpn_protocols(["h2"])
    apns = APNs(
        key=Path(given("key_file")).read_text(),
        key_id=given("key_id"),
        team_id=given("team_id"),
        topic=given("topic"),
        max_connections=1,
        ssl_context=context,
    )

    async def send(token):
        request = NotificationRequest(
            device_token=token, message={"aps": {"alert": "Hi"}}, push_type=PushType.ALERT
        )
        result = await apns.send_notification(request)
        return "ok" if result.is_successful else f"NotificationResult: {result.status} {result.description}"

    await send_all(send)


asyncio.run(main())
