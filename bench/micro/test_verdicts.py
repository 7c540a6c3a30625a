"""From a response to a verdict."""

from __future__ import annotations

from typing import Any

from pushcore.apns import reasons
from pushcore.fcm import errors
from pushcore.latency import Histogram
from pushcore.results import Verdict

GONE = b'{"reason":"Unregistered","timestamp":1700000000000}'
BAD = b'{"reason":"BadDeviceToken"}'
NOT_FOUND = b"""{
  "error": {
    "code": 404,
    "message": "Requested entity was not found.",
    "status": "NOT_FOUND",
    "details": [
      {
        "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
        "errorCode": "UNREGISTERED"
      }
    ]
  }
}
"""
NAME = b'{\n  "name": "projects/fake-project/messages/0:1700000000000000%31bd1c9631bd1c96"\n}\n'


def test_apns_reason_with_a_timestamp(benchmark: Any) -> None:
    """410 has to be parsed."""
    assert benchmark(reasons.read_error, GONE) == ("Unregistered", 1_700_000_000.0)


def test_apns_reason_alone(benchmark: Any) -> None:
    """A body that is found byte for byte in the table."""
    assert benchmark(reasons.read_error, BAD) == ("BadDeviceToken", None)


def test_apns_verdict(benchmark: Any) -> None:
    """The verdict, from the table."""
    assert benchmark(reasons.verdict_for, 410, "Unregistered") is Verdict.UNREGISTERED


def test_fcm_error(benchmark: Any) -> None:
    """The details of Google's error model."""
    assert benchmark(errors.read_error, 404, NOT_FOUND).verdict is Verdict.UNREGISTERED


def test_fcm_message_name(benchmark: Any) -> None:
    """The message's name, which is decoded on demand."""
    assert benchmark(errors.message_name, NAME).startswith("projects/")


def test_a_latency_in_the_histogram(benchmark: Any) -> None:
    """Per push with a listener that counts."""
    histogram = Histogram()
    benchmark(histogram.observe, 0.04)
    assert histogram.count > 0
