# mypy: ignore-errors
# sender: PyAPNs2 (fork apns2-up)
# provider: apns
# install: apns2-up==0.9.0 setuptools<81
# streams: 1000
# reached: hosts
# how: hosts file and port 443; there is no option for the CA, so the program replaces the TLS context of the HTTP library, `hyper.tls._context`
from apns2.client import APNsClient, Notification
from apns2.credentials import TokenCredentials
from apns2.payload import Payload
from hyper import tls
from sending import STREAMS, TOKENS, given, named, tell

tls._context = tls.init_context(cert_path=given("ca_file"))
client = APNsClient(TokenCredentials(given("key_file"), given("key_id"), given("team_id")))
PAYLOAD = Payload(alert="Hi")


def send(token):
    try:
        client.send_notification(token, PAYLOAD, given("topic"))
    except Exception as error:
        return named(error)
    return "ok"


if STREAMS == 1:
    for token in TOKENS:
        tell(token, send(token))
else:
    batch = [Notification(token, PAYLOAD) for token in TOKENS]
    for token, result in client.send_notification_batch(batch, given("topic")).items():
        tell(token, "ok" if result == "Success" else str(result))
