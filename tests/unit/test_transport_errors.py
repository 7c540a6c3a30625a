"""What each reason for no answer says of the push: surely not processed, and whether trying again can help."""

from __future__ import annotations

import pytest

from pushcore import transport_errors as errors
from pushcore.transport_errors import TransportError


@pytest.mark.parametrize(
    ("error", "unprocessed", "permanent"),
    [
        (errors.ConnectError("x"), True, False),
        (errors.CertificateError("x"), True, True),
        (errors.AlpnError("x"), True, True),
        (errors.ProxyError("x"), True, False),
        (errors.ProxyError("x", status=407, permanent=True), True, True),
        (errors.AccessTokenError("x"), True, False),
        (errors.AccessTokenError("x", permanent=True), True, True),
        (errors.ConnectionLost("x"), False, False),
        (errors.ProtocolError(1, "x"), False, False),
        (errors.GoAway(0, b"", unprocessed=True), True, False),
        (errors.GoAway(0, b"", unprocessed=False), False, False),
        (errors.StreamReset(7, unprocessed=True), True, False),
        (errors.StreamReset(2), False, False),
        (errors.HeaderListTooLarge("x"), False, False),
        (errors.ResponseTooLarge("x"), False, False),
        (errors.ResponseTimeout("x"), False, False),
        (errors.ResponseTimeout("x", unprocessed=True), True, False),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else str(each),
)
def test_whether_the_push_was_processed_and_whether_it_can_help_to_try_again(
    error: TransportError, unprocessed: bool, permanent: bool
) -> None:
    assert (error.unprocessed, error.permanent) == (unprocessed, permanent)


def test_a_goaway_has_the_providers_word_in_its_message() -> None:
    told = errors.GoAway(0, b'{"reason":"Shutdown"}', unprocessed=False, reason="Shutdown")
    assert str(told) == "the server is going away (error code 0, Shutdown)"
    assert (told.code, told.reason) == (0, "Shutdown")
    assert str(errors.GoAway(11, b"x", unprocessed=False)) == "the server is going away (error code 11)"


def test_codes_and_reasons_are_kept() -> None:
    assert errors.ProtocolError(3, "too much").code == 3
    assert errors.StreamReset(8).code == 8
    assert str(errors.StreamReset(8)) == "the server reset the stream (error code 8)"
    assert errors.ProxyError("x", status=502).status == 502
    token = errors.AccessTokenError("x", reason="invalid_grant", retry_after=3.0)
    assert (token.reason, token.retry_after) == ("invalid_grant", 3.0)
