# mypy: ignore-errors
# sender: kalyke
# provider: apns
# install: kalyke-apns==1.5.0
# streams: 10
# reached: hosts
# how: hosts file and port 443; SSL_CERT_FILE
import asyncio

from kalyke import ApnsClient, ApnsConfig, ApnsPushType
from sending import given, send_all


async def main():
    client = ApnsClient(
        use_sandbox=False,
        team_id=given("team_id"),
        auth_key_id=given("key_id"),
        auth_key_filepath=given("key_file"),
    )
    config = ApnsConfig(topic=given("topic"), push_type=ApnsPushType.ALERT)

    async def send(token):
        await client.send_message(token, {"aps": {"alert": "Hi"}}, config)
        return "ok"

    await send_all(send)


asyncio.run(main())
