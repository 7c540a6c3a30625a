# mypy: ignore-errors
# rival: kalyke
# provider: apns
# install: kalyke-apns==1.5.0
# streams: 20
# source: the README of nnsnodnb/kalyke, "Simple Usage": one ApnsClient, `await client.send_message`. It makes a client and
# a connection for each message, which is its design; more at a time only wait. Its host is a property, replaced here.
import asyncio

from kalyke import ApnsClient, ApnsConfig, ApnsPushType
from measure import COUNT, STREAMS, Clock, apns_payload, device, given


class KalykeToUrl(ApnsClient):
    @property
    def _base_url(self):
        return given("url")


async def main():
    client = KalykeToUrl(
        use_sandbox=False,
        team_id=given("team_id"),
        auth_key_id=given("key_id"),
        auth_key_filepath=given("key_file"),
    )
    config = ApnsConfig(topic=given("topic"), push_type=ApnsPushType.ALERT)

    async def one(number):
        return bool(await client.send_message(device(number), apns_payload(number), config))

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
    clock.stop(ok, "kalyke-apns")


asyncio.run(main())
