# mypy: ignore-errors
# sender: firebase-admin for Python, send_each_async
# provider: fcm
# install: firebase-admin==7.7.0
# streams: 500
# reached: hosts
# how: hosts file and port 443; SSL_CERT_FILE, and REQUESTS_CA_BUNDLE for access tokens
import asyncio

import firebase_admin
from firebase_admin import credentials, messaging
from sending import STREAMS, TOKENS, given, named, tell

firebase_admin.initialize_app(credentials.Certificate(given("service_account_file")))


async def main():
    for first in range(0, len(TOKENS), STREAMS):
        tokens = TOKENS[first : first + STREAMS]
        batch = [
            messaging.Message(token=token, notification=messaging.Notification(title="Hi"))
            for token in tokens
        ]
        responses = (await messaging.send_each_async(batch)).responses
        for token, response in zip(tokens, responses, strict=True):
            tell(token, "ok" if response.success else named(response.exception))


asyncio.run(main())
