# mypy: ignore-errors
# rival: mopyapns
# provider: apns
# install: mopyapns==0.8.0
# streams: 1
# source: the README of magnuslo/mopyapns, "Sample usage": `send_notification_batch`. PyAPNs2 moved to httpx: its batch still
# counts 1000 streams, but each request is waited for before the next begins. SSL_CERT_FILE tells httpx whom to trust.
from apns2.client import APNsClient, Notification
from apns2.credentials import TokenCredentials
from apns2.payload import Payload, PayloadAlert
from measure import COUNT, Clock, apns_payload, device, given


class MopyapnsToUrl(APNsClient):
    LIVE_SERVER = given("host")
    DEFAULT_PORT = int(given("port"))


def payload(number):
    made = apns_payload(number)
    aps = made.pop("aps")
    alert = PayloadAlert(title=aps["alert"]["title"], body=aps["alert"]["body"])
    return Payload(alert=alert, sound=aps["sound"], badge=aps["badge"], custom=made)


client = MopyapnsToUrl(TokenCredentials(given("key_file"), given("key_id"), given("team_id")))
client.send_notification_batch([Notification(device(0), payload(0))], given("topic"))
clock = Clock()
results = client.send_notification_batch(
    (Notification(device(number), payload(number)) for number in range(COUNT)), given("topic")
)
clock.stop(sum(result == "Success" for result in results.values()), "mopyapns")
