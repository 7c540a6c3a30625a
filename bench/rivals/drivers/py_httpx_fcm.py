# mypy: ignore-errors
# rival: httpx
# provider: fcm
# install: httpx[http2]==0.28.1
# streams: 100
# source: python-httpx.org/http2 and /async: one AsyncClient for everything, requests of many tasks at once, FCM's v1 request
# as Google documents it, with an access token that was fetched before.
import asyncio
import json
import ssl

import httpx
from measure import COUNT, STREAMS, Clock, given, registration

READY = json.loads(given("payload"))
PATH = f"/v1/projects/{given('project_id')}/messages:send"


def message(number):
    data = {**READY["data"], "order": str(1_000_000 + number)}
    notification = dict(READY["notification"])
    return {
        "token": registration(number),
        "notification": notification,
        "data": data,
        "android": READY["android"],
    }


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    headers = {"authorization": given("authorization")}
    limits = httpx.Limits(max_connections=1)
    ok = 0
    async with httpx.AsyncClient(
        http2=True, verify=context, base_url=given("url"), headers=headers, limits=limits, timeout=60
    ) as client:

        async def one(number):
            response = await client.post(PATH, json={"message": message(number)})
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
