"""The tray's failed/ folder: what could not be read, with a reason file that a clerk understands."""

from __future__ import annotations

import filecmp
import time
from pathlib import Path, PurePosixPath

from pipeline.errors import MailroomError
from pipeline.names import safe_part

FAILED = "failed"
#: Leaves room for ".reason.txt" and a prefix under the 255 bytes of a file name.
MAX_NAME_BYTES = 200


def put_failed(root: Path, place: str, file: Path | None, error: MailroomError, document_id: str) -> Path:
    """Move ``file`` (or make room for a copy) under failed/, with a reason file beside it; returns the target."""
    name = safe_part(PurePosixPath(place).name, MAX_NAME_BYTES)
    target = root / FAILED / name
    if file is not None and target.exists() and not filecmp.cmp(file, target, shallow=False):
        # Another file of that name failed before; both stay.
        target = target.with_name(f"{document_id[-8:]}-{name}")
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
