# mypy: ignore-errors
# rival: firebase-admin
# provider: fcm
# install: firebase-admin==7.7.0
# streams: 500
# source: firebase.google.com/docs/cloud-messaging/send-message, "Send messages in batches": `send_each_async` with the 500
# messages that it takes at most. Its URL has no option; the class attribute that holds it is set. It is given an access
# token, because it fetches one over HTTP/1.1, which the C target does not speak.
import asyncio
import json

import firebase_admin
from firebase_admin import credentials, messaging
from google.oauth2.credentials import Credentials
from measure import COUNT, STREAMS, Clock, given, registration

messaging._MessagingService.FCM_URL = given("url") + "/v1/projects/{0}/messages:send"
READY = json.loads(given("payload"))


class GivenCredentials(credentials.Base):
    def get_credential(self):
        return Credentials(given("authorization").removeprefix("Bearer "))


firebase_admin.initialize_app(GivenCredentials(), {"projectId": given("project_id")})


def message(number):
    return messaging.Message(
        token=registration(number),
        notification=messaging.Notification(**READY["notification"]),
        data={**READY["data"], "order": str(1_000_000 + number)},
        android=messaging.AndroidConfig(priority="high"),
    )


async def main():
    await messaging.send_each_async([message(0)])
    ok = 0
    clock = Clock()
    for first in range(0, COUNT, STREAMS):
        batch = [message(number) for number in range(first, min(first + STREAMS, COUNT))]
        ok += (await messaging.send_each_async(batch)).success_count
    clock.stop(ok, "firebase-admin")


asyncio.run(main())
