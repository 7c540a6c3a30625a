# mypy: ignore-errors
# rival: pycurl multi
# provider: apns
# install: pycurl==7.49.0 orjson
# streams: 1000
# source: curl.se/libcurl/c/libcurl-multi.html and pycurl's examples/retriever-multi.py: easy handles made once and used again,
# one connection (CURLPIPE_MULTIPLEX, MAX_HOST_CONNECTIONS 1), as many streams as the server allows; orjson.
import orjson
import pycurl
from measure import COUNT, STREAMS, Clock, apns_payload, device, given

multi = pycurl.CurlMulti()
multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
multi.setopt(pycurl.M_MAX_CONCURRENT_STREAMS, STREAMS)
URL = given("url") + "/3/device/"
HEADERS = [
    f"authorization: {given('authorization')}",
    f"apns-topic: {given('topic')}",
    "apns-push-type: alert",
    "content-type: application/json",
]


def handle():
    easy = pycurl.Curl()
    easy.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2_0)
    easy.setopt(pycurl.PIPEWAIT, 1)
    easy.setopt(pycurl.CAINFO, given("ca_file"))
    easy.setopt(pycurl.HTTPHEADER, HEADERS)
    easy.setopt(pycurl.WRITEFUNCTION, lambda data: None)
    return easy


def send(numbers, handles):
    free, ok, busy = list(handles), 0, 0
    numbers = iter(numbers)
    while True:
        while free:
            number = next(numbers, None)
            if number is None:
                break
            easy = free.pop()
            easy.setopt(pycurl.URL, URL + device(number))
            easy.setopt(pycurl.POSTFIELDS, orjson.dumps(apns_payload(number)))
            multi.add_handle(easy)
            busy += 1
        if not busy:
            return ok
        multi.perform()
        while True:
            queued, done, failed = multi.info_read()
            for easy in done:
                ok += easy.getinfo(pycurl.RESPONSE_CODE) == 200
            for easy in [*done, *(each[0] for each in failed)]:
                multi.remove_handle(easy)
                free.append(easy)
                busy -= 1
            if not queued:
                break
        if busy:
            multi.select(1.0)


handles = [handle() for _ in range(STREAMS)]
send(range(1), handles)
clock = Clock()
clock.stop(send(range(COUNT), handles), release=pycurl.version.split()[0].removeprefix("PycURL/"))
