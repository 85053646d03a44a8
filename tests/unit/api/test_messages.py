"""What people are told of a request that does not fit: what to give instead, never a pattern."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from workers.api.problems import _field
from workers.api.schemas.documents import Search


@pytest.mark.parametrize(
    ("asked", "told"),
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
def test_a_field_is_told_what_to_give(asked: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Search.model_validate(asked)
    (error,) = caught.value.errors()
    assert told in error["msg"] and "pattern" not in error["msg"]


def test_a_body_that_is_no_json_is_said_with_the_place() -> None:
    assert _field({"type": "json_invalid", "loc": ("body", 10), "msg": "JSON decode error"}) == {
        "field": "body",
        "detail": "it is no JSON from character 10 on",
    }
