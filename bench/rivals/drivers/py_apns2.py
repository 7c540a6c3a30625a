# mypy: ignore-errors
# rival: PyAPNs2 (fork apns2-up)
# provider: apns
# install: apns2-up==0.9.0 setuptools<81
# streams: 1000
# source: the README of PyAPNs2, "Sending many notifications": `send_notification_batch`, which keeps as many streams in use
# as the server allows. Whom to trust has no option; its HTTP library's default context is told.
from apns2.client import APNsClient, Notification
from apns2.credentials import TokenCredentials
from apns2.payload import Payload, PayloadAlert
from hyper import tls
from measure import COUNT, Clock, apns_payload, device, given


class Apns2ToUrl(APNsClient):
    LIVE_SERVER = given("host")
    DEFAULT_PORT = int(given("port"))


def payload(number):
    made = apns_payload(number)
    aps = made.pop("aps")
    alert = PayloadAlert(title=aps["alert"]["title"], body=aps["alert"]["body"])
    return Payload(alert=alert, sound=aps["sound"], badge=aps["badge"], custom=made)


tls._context = tls.init_context(cert_path=given("ca_file"))
credentials = TokenCredentials(given("key_file"), given("key_id"), given("team_id"))
client = Apns2ToUrl(credentials)
client.send_notification_batch([Notification(device(0), payload(0))], given("topic"))
clock = Clock()
results = client.send_notification_batch(
    (Notification(device(number), payload(number)) for number in range(COUNT)), given("topic")
)
clock.stop(sum(result == "Success" for result in results.values()), "apns2-up")
