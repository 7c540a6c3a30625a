# mypy: ignore-errors
# rival: aioapns
# provider: apns
# install: aioapns==4.0 setuptools<81
# streams: 1000
# source: the README of Fatal1ty/aioapns, "Basic Usage": one APNs object, `send_notification` from many tasks. Host and
# port have no option, so the class attributes that hold them are set; its pool is kept to one connection as for all.
import asyncio
import ssl
from pathlib import Path

from aioapns import APNs, NotificationRequest, PushType
from aioapns.connection import APNsProductionClientProtocol
from measure import COUNT, STREAMS, Clock, apns_payload, device, given

APNsProductionClientProtocol.APNS_SERVER = given("host")
APNsProductionClientProtocol.APNS_PORT = int(given("port"))


KEY = Path(given("key_file")).read_text()


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    context.set_alpn_protocols(["h2"])
    apns = APNs(
        key=KEY,
        key_id=given("key_id"),
        team_id=given("team_id"),
        topic=given("topic"),
        max_connections=1,
        ssl_context=context,
    )

    async def one(number):
        request = NotificationRequest(
            device_token=device(number), message=apns_payload(number), push_type=PushType.ALERT
        )
        return (await apns.send_notification(request)).is_successful

    ok = 0
    await one(0)
    numbers = iter(range(COUNT))

    async def worker():
        nonlocal ok
        for number in numbers:
            if await one(number):
                ok += 1

    clock = Clock()
    await asyncio.gather(*(worker() for _ in range(STREAMS)))
    clock.stop(ok, "aioapns")
    apns.pool.close()


asyncio.run(main())
