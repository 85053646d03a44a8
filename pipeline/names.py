"""Safe names of files and folders from what documents contain, so that no document chooses its own place."""

from __future__ import annotations

import datetime
import re
import unicodedata
from pathlib import PurePosixPath

from pipeline.documents import Document

#: Bytes of one path part; file systems allow 255, so a suffix can be added.
MAX_PART_BYTES = 120
_UNSAFE = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def fill_template(template: str, document: Document) -> PurePosixPath:
    """Return a folder template with the document's values, as a relative path: each value is one safe path part."""
    day = datetime.datetime.fromtimestamp(document.received_at, datetime.UTC)
    name = PurePosixPath(safe_part(document.name))
    values = {
        "label": safe_part(document.label or "unlabelled"),
        "year": f"{day:%Y}",
        "month": f"{day:%m}",
        "day": f"{day:%d}",
        "name": name.name,
        "stem": name.stem,
        "suffix": name.suffix,
        "source": safe_part(document.source),
        "id": document.id,
        "content_hash": document.content_hash,
        "sender": safe_part(document.metadata.get("from", "unknown")),
    }
    return PurePosixPath(*(safe_part(part) for part in template.format(**values).split("/") if part))


def safe_part(text: str, max_bytes: int = MAX_PART_BYTES) -> str:
    """Return ``text`` as one path part of at most ``max_bytes``, with its file extension: without separators, control
    or invisible characters, and neither a reserved nor a hidden name."""
    visible = "".join("_" if unicodedata.category(c)[0] == "C" else c for c in unicodedata.normalize("NFC", text))
    part = _UNSAFE.sub("_", visible).strip(" .") or "_"
    if _RESERVED.fullmatch(part):
        part = f"_{part}"
    if len(part.encode()) <= max_bytes:
        return part
    stem, dot, ending = part.rpartition(".")
    tail = f".{ending}" if dot and len(ending) <= 10 else ""
    shortened = (stem if tail else part).encode()[: max_bytes - len(tail.encode())].decode("utf-8", "ignore")
    return f"{shortened.rstrip(' .') or '_'}{tail}"
