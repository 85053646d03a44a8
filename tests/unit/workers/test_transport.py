"""Entries of a queue: whatever somebody puts there, Celery gets a whole wake-up or nothing."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.queue.transport import wake_up

GOOD: dict[str, Any] = {
    "body": base64.b64encode(json.dumps([["job-1"], {}, {"callbacks": None}]).encode()).decode(),
    "content-encoding": "utf-8",
    "content-type": "application/json",
    "headers": {"lang": "py", "task": "mailroom.ingest", "id": "task-1", "timelimit": [None, None]},
    "properties": {"delivery_tag": "tag-1", "delivery_info": {"exchange": "", "routing_key": "ingest"}},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
PLACES = [("body",), ("headers",), ("properties",), ("headers", "task"), ("headers", "id"), ("headers", "timelimit")]
PLACES += [("properties", "delivery_tag"), ("properties", "delivery_info"), ("content-type",), ("headers", "chain")]


def is_whole(message: dict[str, Any]) -> bool:
    arguments, options, links = json.loads(base64.b64decode(message["body"]))
    names = [*arguments, message["headers"]["id"], message["properties"]["delivery_tag"]]
    return options == {} and not any(links.values()) and len(arguments) == 1 and all(isinstance(n, str) for n in names)


def test_a_wake_up_keeps_its_job() -> None:
    message = wake_up(GOOD, "ingest")
    assert message is not None
    assert json.loads(base64.b64decode(message["body"]))[0] == ["job-1"]
    assert wake_up(GOOD, "deliver") is None


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_any_json_is_no_wake_up(entry: Any) -> None:
    assert wake_up(entry, "ingest") is None


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_a_changed_field_gives_a_whole_wake_up_or_none(place: tuple[str, ...], value: Any) -> None:
    entry = copy.deepcopy(GOOD)
    target = entry
    for name in place[:-1]:
        target = target[name]
    target[place[-1]] = value
    message = wake_up(entry, "ingest")
    assert message is None or is_whole(message)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_another_body_gives_a_whole_wake_up_or_none(body: Any) -> None:
    entry = {**GOOD, "body": base64.b64encode(json.dumps(body).encode()).decode()}
    message = wake_up(entry, "ingest")
    assert message is None or is_whole(message)
