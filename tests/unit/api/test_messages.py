"""Messages for requests that are not valid: what to give instead, never a pattern."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workers.api.problems import field_error
from workers.api.schemas.search import SearchBody


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"query": "  "}, "nothing to look for"),
        ({"query": ""}, "nothing to look for"),
        ({"query": "a\0b"}, "nothing to look for"),
        ({"query": "x" * 4001}, "at most 4000"),
        ({"query": "x", "filters": {"metadata": ["colour"]}}, "FIELD=VALUE"),
        ({"query": "x", "filters": {"label": [""]}}, "at least one character"),
        ({"query": "x", "filters": {"folder": "a\nb"}}, "no control characters"),
        ({"query": "x", "filters": {"colour": ["red"]}}, "there is no such field; there are label"),
    ],
)
def test_an_error_says_what_to_give(body: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SearchBody.model_validate(body)
    (error,) = caught.value.errors()
    assert message in error["msg"] and "pattern" not in error["msg"]


def test_a_body_that_is_not_json_is_refused_with_the_place() -> None:
    assert field_error({"type": "json_invalid", "loc": ("body", 10), "msg": "JSON decode error"}) == {
        "field": "body",
        "detail": "it is not JSON from character 10 on",
    }
