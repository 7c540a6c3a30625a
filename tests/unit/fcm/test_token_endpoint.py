"""Asking for an access token: what is posted, and what is read of the answer."""

from __future__ import annotations

from typing import Any

import pytest

from pushcore.auth.service_account import TokenResponse
from pushcore.errors import TransportError
from pushcore.fcm.token_endpoint import TokenEndpoint
from pushcore.http2.tls import client_context
from tests.support import virtual
from tests.support.virtual import connect_to, run

CONTEXT = client_context()


def post(uri: str = "https://oauth2.test/token", form: bytes = b"grant_type=x", **options: Any) -> Any:
    async def work() -> TokenResponse:
        given: dict[str, Any] = {"engine": "fast", "now": lambda: 1_750_000_000.0, **options}
        endpoint = TokenEndpoint(uri, CONTEXT, **given)
        try:
            return await endpoint.post(form)
        finally:
            await endpoint.close()

    return run(work())


def responding(monkeypatch: pytest.MonkeyPatch, *response: Any) -> list[tuple[dict[str, str], bytes]]:
    """What the endpoint is asked; it always answers this."""
    requests: list[tuple[dict[str, str], bytes]] = []

    def respond(fields: dict[str, str], body: bytes) -> virtual.Answer:
        requests.append((fields, body))
        return response

    connect_to(monkeypatch, respond)
    return requests


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_a_form_is_posted_to_the_path_of_the_uri(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = responding(monkeypatch, 200, {}, b'{"access_token":"x"}')
    response = post("https://oauth2.test:8443/o/token?a=b", b"grant_type=y", engine=engine)
    assert (response.status, response.body, response.retry_after) == (200, b'{"access_token":"x"}', None)
    ((fields, body),) = requests
    assert body == b"grant_type=y"
    assert fields == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": "oauth2.test:8443",
        ":path": "/o/token?a=b",
        "content-type": "application/x-www-form-urlencoded",
    }


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (503, {"retry-after": "7"}, 7.0),
        (429, {"retry-after": "Sun, 15 Jun 2025 15:07:20 GMT"}, 40.0),
        (503, {}, None),
        (400, {"retry-after": "soon"}, None),
        (200, {"retry-after": "7"}, None),
    ],
)
def test_a_rejection_may_have_a_retry_after(
    status: int, header: dict[str, str], seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    responding(monkeypatch, status, header, b"{}")
    response = post()
    assert (response.status, response.retry_after) == (status, seconds)


@pytest.mark.parametrize(
    ("status", "date", "advice"),
    [
        (400, "Sun, 15 Jun 2025 13:06:40 GMT", "set this machine's clock: it is 2 h fast"),
        (400, "Sun, 15 Jun 2025 15:06:41 GMT", None),
        (200, "Sun, 15 Jun 2025 13:06:40 GMT", None),
    ],
)
def test_a_rejection_may_show_that_our_clock_is_wrong(
    status: int, date: str, advice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    responding(monkeypatch, status, {"date": date}, b"{}")
    assert post().clock_advice == advice


def test_a_timeout_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    connect_to(monkeypatch, lambda fields, body: (200, {}, b""), latency=100.0)
    with pytest.raises(TransportError):
        post(timeout=3.0)
