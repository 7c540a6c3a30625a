# mypy: ignore-errors
# rival: python-hyper/h2
# provider: apns
# install: h2==4.4.1 orjson uvloop
# streams: 100
# source: the asyncio examples of python-hyper.org/projects/h2, used as well as it can be: one write for all that a batch of
# answers lets through, header lists made ready, orjson, uvloop, and no more streams than it can look through cheaply.
import asyncio
import ssl

import h2.config
import h2.connection
import h2.events
import orjson
import uvloop
from measure import COUNT, STREAMS, Clock, apns_payload, device, given


class H2Connection(asyncio.Protocol):
    def __init__(self):
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.open = self.ok = self.ended = 0
        self.numbers = iter(range(1))
        self.done = asyncio.get_running_loop().create_future()
        self.before = [(":method", "POST"), (":scheme", "https"), (":authority", given("address"))]
        self.after = [
            ("authorization", given("authorization")),
            ("apns-topic", given("topic")),
            ("apns-push-type", "alert"),
        ]

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(2**24)
        self.fill()

    def fill(self):
        while self.open < STREAMS:
            number = next(self.numbers, None)
            if number is None:
                break
            stream = self.h2.get_next_available_stream_id()
            path = [(":path", f"/3/device/{device(number)}")]
            self.h2.send_headers(stream, [*self.before, *path, *self.after])
            self.h2.send_data(stream, orjson.dumps(apns_payload(number)), end_stream=True)
            self.open += 1
        self.transport.write(self.h2.data_to_send())
        if not self.open and not self.done.done():
            self.done.set_result(None)

    def data_received(self, data):
        for event in self.h2.receive_data(data):
            if type(event) is h2.events.ResponseReceived:
                self.ok += event.headers[0][1] == b"200"
            elif type(event) is h2.events.StreamEnded:
                self.open -= 1
        self.fill()


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    transport, sender = await loop.create_connection(
        H2Connection, given("host"), int(given("port")), ssl=context
    )
    await sender.done
    sender.done = loop.create_future()
    sender.ok, sender.numbers = 0, iter(range(COUNT))
    clock = Clock()
    sender.fill()
    await sender.done
    clock.stop(sender.ok, "h2")
    transport.close()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
