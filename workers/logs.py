"""The logs of a process: lines for people, or JSON with the ids of the document, the job and the request.

Neither names a document or quotes one. An exception's message may quote what it failed on, so JSON has its type and the
places that it came through, and never its message.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

#: The ids of what this thread or task works on: "document", "job", "request".
_IDS: ContextVar[Mapping[str, str]] = ContextVar("ids", default={})  # noqa: B039  (never changed in place)
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def ids(**values: str) -> Iterator[None]:
    """Add ids to every line that is logged until the block ends."""
    token = _IDS.set({**_IDS.get(), **values})
    try:
        yield
    finally:
        _IDS.reset(token)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "role": self._role,
            "process": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
            **_IDS.get(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            entry["error"] = type(error).__name__
            frames = traceback.extract_tb(error.__traceback__)
            entry["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(entry, ensure_ascii=False)


def set_up(role: str, form: str) -> None:
    """Send everything from INFO on to standard error, as lines for people ("text") or as JSON ("json")."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role) if form == "json" else logging.Formatter(TEXT))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(form == "json")
