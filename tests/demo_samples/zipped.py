"""ZIP-based documents with fixed times, so that every run gives the same bytes."""

from __future__ import annotations

import io
import re
import zipfile

DATE = (2026, 3, 2, 9, 0, 0)
_ISO = "2026-03-02T09:00:00Z"
_TIMES = re.compile(
    rb"(<(?:dcterms:created|dcterms:modified|meta:creation-date|dc:date)(?: [^>]*)?>"
    rb"|<meta property=\"dcterms:modified\">)"
    rb"\d{4}-\d\d-\d\d(?:T[\d:.]+(?:Z|[+-]\d\d:\d\d)?)?(?=<)"
)
_PROPERTIES = ("docProps/core.xml", "meta.xml", "EPUB/content.opf")


def with_fixed_times(archive: bytes) -> bytes:
    """Return the archive with every time set to `DATE`; members keep their order, and "mimetype" stays uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename in _PROPERTIES:
                content = _TIMES.sub(rb"\g<1>" + _ISO.encode(), content)
            entry = zipfile.ZipInfo(item.filename, DATE)
            entry.external_attr = 0o644 << 16
            stored = item.filename == "mimetype"
            new.writestr(entry, content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()
