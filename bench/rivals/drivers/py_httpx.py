# mypy: ignore-errors
# rival: httpx
# provider: apns
# install: httpx[http2]==0.28.1
# streams: 100
# source: python-httpx.org/http2 and /async: one AsyncClient for everything, requests of many tasks at once. With more
# than 100 at a time it gets slower: python-hyper/h2 looks through all open streams for each new one.
import asyncio
import ssl

import httpx
from measure import COUNT, STREAMS, Clock, apns_payload, device, given


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    headers = {
        "authorization": given("authorization"),
        "apns-topic": given("topic"),
        "apns-push-type": "alert",
    }
    limits = httpx.Limits(max_connections=1)
    ok = 0
    async with httpx.AsyncClient(
        http2=True, verify=context, base_url=given("url"), headers=headers, limits=limits, timeout=60
    ) as client:

        async def one(number):
            response = await client.post(f"/3/device/{device(number)}", json=apns_payload(number))
            return response.status_code == 200

        await one(0)
        numbers = iter(range(COUNT))

        async def worker():
            nonlocal ok
            for number in numbers:
                if await one(number):
                    ok += 1

        clock = Clock()
        await asyncio.gather(*(worker() for _ in range(STREAMS)))
        clock.stop(ok, "httpx")


asyncio.run(main())
