"""JSON lines: ids of what is being worked on, and no message of an exception, which may quote a document."""

from __future__ import annotations

import json
import logging

from workers.logs import JsonFormatter, ids

SECRET = "the text of a letter"


def line(error: Exception | None = None) -> dict[str, object]:
    exc_info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("a.b", logging.ERROR, "x.py", 1, "job %s failed", ("7",), exc_info)
    return json.loads(JsonFormatter("celery").format(record))


def test_ids_are_added_until_the_block_ends() -> None:
    with ids(document="d1", job="j1"):
        with ids(request="r1"):
            assert {"document": "d1", "job": "j1", "request": "r1"}.items() <= line().items()
        assert "request" not in line()
    assert "document" not in line()
    assert line()["message"] == "job 7 failed"


def test_an_exception_has_its_type_and_places_only() -> None:
    try:
        float(SECRET)
    except ValueError as error:
        entry = line(error)
    assert entry["error"] == "ValueError"
    assert "test_logs.py" in str(entry["trace"])
    assert SECRET not in json.dumps(entry)
