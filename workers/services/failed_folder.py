"""The tray's failed/ folder: files that could not be read, with the reason in words that a clerk understands."""

from __future__ import annotations

import filecmp
import time
from pathlib import Path, PurePosixPath

from pipeline.disk import set_mode
from pipeline.errors import MailroomError
from pipeline.names import safe_part

FAILED = "failed"
#: Bytes: leaves room for ".reason.txt" and a prefix within the 255 bytes of a file name.
MAX_NAME_BYTES = 200
#: Suffix of the file with the reason.
REASON = ".reason.txt"


def put_failed(root: Path, path: str, file: Path, error: MailroomError, document_id: str, mode: int) -> Path:
    """Move ``file``, once at ``path`` in the tray, to failed/ with a reason file beside it; return its new path.

    Both get the permissions ``mode``.
    """
    name = safe_part(PurePosixPath(path).name, MAX_NAME_BYTES)
    target = root / FAILED / name
    if target.exists() and not filecmp.cmp(file, target, shallow=False):
        # Another file of that name failed before; both are kept.
        target = target.with_name(f"{document_id[-8:]}-{name}")
    reason = target.with_name(f"{target.name}{REASON}")
    file.replace(target)
    text = (
        f"{error.detail}\n\ncode: {error.code}\ndocument: {document_id}\nplace: {path}\n"
        f"when: {time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}\n\n"
        "Repair the file and drop it in again, or run `mailroom retry` with the document's id. "
        "This folder is not watched.\n"
    )
    reason.write_text(text, encoding="utf-8")
    for item in (target, reason):
        set_mode(item, mode)
    return target
