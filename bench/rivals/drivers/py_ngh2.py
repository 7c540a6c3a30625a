# mypy: ignore-errors
# rival: ngh2 (libnghttp2)
# provider: apns
# install: ngh2==0.3.0 orjson uvloop
# streams: 1000
# source: the package's docstrings: one Connection, `data_to_send` once for each batch of answers; orjson and uvloop.
import asyncio
import ssl

import ngh2
import orjson
import uvloop
from measure import COUNT, STREAMS, Clock, apns_payload, device, given


class Ngh2Connection(asyncio.Protocol):
    def __init__(self):
        self.h2 = ngh2.Connection(ngh2.Role.CLIENT)
        self.open = self.ok = 0
        self.numbers = iter(range(1))
        self.done = asyncio.get_running_loop().create_future()
        self.before = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", given("address").encode()),
        ]
        self.after = [
            (b"authorization", given("authorization").encode()),
            (b"apns-topic", given("topic").encode()),
            (b"apns-push-type", b"alert"),
        ]

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.transport.write(self.h2.data_to_send())

    def fill(self):
        while self.open < STREAMS:
            number = next(self.numbers, None)
            if number is None:
                break
            path = [(b":path", f"/3/device/{device(number)}".encode())]
            stream = self.h2.send_request([*self.before, *path, *self.after])
            self.h2.send_data(stream, orjson.dumps(apns_payload(number)), end_stream=True)
            self.open += 1
        self.transport.write(self.h2.data_to_send())
        if not self.open and not self.done.done():
            self.done.set_result(None)

    def data_received(self, data):
        self.h2.receive_data(data)
        for event in self.h2.events():
            if type(event) is ngh2.ResponseReceived:
                self.ok += event.headers[0][1] == b"200"
                self.open -= 1
        self.fill()


async def main():
    context = ssl.create_default_context(cafile=given("ca_file"))
    context.set_alpn_protocols(["h2"])
    loop = asyncio.get_running_loop()
    transport, sender = await loop.create_connection(
        Ngh2Connection, given("host"), int(given("port")), ssl=context
    )
    await sender.done
    sender.done = loop.create_future()
    sender.ok, sender.numbers = 0, iter(range(COUNT))
    clock = Clock()
    sender.fill()
    await sender.done
    clock.stop(sender.ok, "ngh2")
    transport.close()


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
