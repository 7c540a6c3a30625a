# mypy: ignore-errors
# sender: firebase-admin for Python, send
# provider: fcm
# install: firebase-admin==7.7.0
# streams: 20
# reached: hosts
# how: hosts file and port 443; REQUESTS_CA_BUNDLE. HTTP/1.1
from concurrent.futures import ThreadPoolExecutor

import firebase_admin
from firebase_admin import credentials, messaging
from sending import STREAMS, TOKENS, given, named, tell

firebase_admin.initialize_app(credentials.Certificate(given("service_account_file")))


def send(token):
    try:
        messaging.send(messaging.Message(token=token, notification=messaging.Notification(title="Hi")))
    except Exception as error:
        tell(token, named(error))
    else:
        tell(token, "ok")


with ThreadPoolExecutor(STREAMS) as pool:
    list(pool.map(send, TOKENS))
