"""Problems as responses."""

from __future__ import annotations

from http import HTTPStatus

import orjson
import pytest

from pushcore.gateway.problems import GatewayProblem, in_words


def test_a_problem_is_a_response_as_rfc_9457_has_it() -> None:
    response = GatewayProblem(413, "too-large", "it is too large", limit=5, status_of="x").response()
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert orjson.loads(bytes(response.body)) == {
        "type": "urn:pushcore:problem:too-large",
        "title": HTTPStatus(413).phrase,  # RFC 9110's from Python 3.13 on
        "status": 413,
        "detail": "it is too large",
        "limit": 5,
        "status_of": "x",
    }


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.1, "2"), (30, "30")])
def test_retry_after_is_whole_seconds_and_never_zero(seconds: float, header: str) -> None:
    assert GatewayProblem(429, "x", "later", retry_after=seconds).headers() == {"retry-after": header}


def test_unauthorized_says_what_is_expected() -> None:
    assert GatewayProblem(401, "x", "y").headers() == {"www-authenticate": 'Bearer realm="pushcore"'}
    assert GatewayProblem(400, "x", "y").headers() == {}


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Expected `int`, got `str`", "Expected a whole number, got a string"),
        ("Expected `str | null`, got `array`", "Expected a string or null, got a list"),
        ("Expected `object`, got `bool` - at `$.app`", "Expected an object, got true or false - at `$.app`"),
        ("Expected `array` of length >= 1", "Expected a list of length >= 1"),
        ("Expected `float`, got `date`", "Expected a number, got `date`"),
        ("Object missing required field `int`", "Object missing required field `int`"),
    ],
)
def test_types_have_the_names_of_json(sentence: str, words: str) -> None:
    assert in_words(sentence) == words
