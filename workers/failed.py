"""The tray's failed/ folder: what could not be read, with a reason file that a clerk understands."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath

from pipeline.errors import MailroomError

FAILED = "failed"


def put_failed(root: Path, place: str, file: Path | None, error: MailroomError, document_id: str) -> Path:
    """Move ``file`` (or make room for a copy) under failed/, with a reason file beside it; returns the target."""
    target = root / FAILED / PurePosixPath(place).name[:200]
    reason = target.with_name(f"{target.name}.reason.txt")
    if file is not None:
        file.replace(target)
    text = (
        f"{error.detail}\n\ncode: {error.code}\ndocument: {document_id}\nplace: {place}\n"
        f"when: {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}\n\n"
        "Mend the file and drop it in again, or run `mailroom retry` with the document's id. This folder is not watched.\n"
    )
    reason.write_text(text, encoding="utf-8")
    return target
