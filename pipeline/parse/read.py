"""The work of the confined child on its one document: detect the kind, run the reader of that kind, send the answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import traceback
from importlib.metadata import version
from typing import Any, BinaryIO

from pipeline.errors import Rejected
from pipeline.parse import shim
from pipeline.parse.detect import detect
from pipeline.parse.findings import Findings, TextLimitReached
from pipeline.parse.kinds import KINDS, ZIPPED
from pipeline.parse.limits import ParseLimits
from pipeline.parse.protocol import ParseRequest, pack

_SHEETS = frozenset({"xlsx", "xlsb", "xls", "ods", "csv", "tsv"})
_PLACEHOLDERS = frozenset(
    {"untitled", "untitled document", "(anonymous)", "document1", "powerpoint presentation", "presentation"}
)


def warm_up() -> None:
    """Import every reader and what it uses, once, before the first document arrives."""
    shim.install()
    import olefile  # noqa: F401
    import PIL.Image
    import unstructured.partition.html
    import unstructured.partition.pptx  # noqa: F401

    from pipeline.parse import readers_by_kind  # noqa: F401
    from pipeline.parse.readers import language

    PIL.Image.MAX_IMAGE_PIXELS = ParseLimits().max_image_pixels
    language.detect("the quick brown fox jumps over the lazy dog and runs away")


def answer(request: ParseRequest, content: int, output: int) -> int:
    """Read the document behind the handle ``content``, write one answer to ``output``, and return the exit status."""
    if request.faults:
        from pipeline.parse import faults

        faults.inject(content, output)
    attachments: list[bytes] = []
    try:
        with os.fdopen(content, "rb") as file:
            findings = read(file, request.name, request.limits)
        head = _report(findings)
        attachments = [attachment.content for attachment in findings.attachments]
    except Rejected as error:
        head = _error(error.code, error.detail)
    except MemoryError:
        head = _error("memory", f"Reading needed more than {request.limits.memory_mb} MB of memory; split the file.")
    except RecursionError:
        head = _error("too-deep", "The file is nested too deeply to be read.")
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        kind = type(error).__name__
        detail = f"The reader could not make sense of the file ({kind}); open it in its own program and save it again."
        head = _error("damaged", detail)
    with socket.socket(fileno=output) as channel:
        for part in pack(head, attachments):
            channel.sendall(part)
    return 0


def _error(code: str, detail: str) -> dict[str, Any]:
    return {"error": {"code": code, "detail": detail}}


def read(file: BinaryIO, name: str, limits: ParseLimits) -> Findings:
    """Detect the kind of ``file`` and return what its reader extracts. Raises Rejected."""
    from pipeline.parse import readers_by_kind
    from pipeline.parse.archive import check_archive
    from pipeline.parse.readers import language

    kind, flags = detect(file, name)
    findings = Findings(limits, name, kind, ocr_available=limits.ocr and shutil.which("tesseract") is not None)
    findings.flags |= flags
    if kind in ZIPPED:
        entries = check_archive(file, limits, refuse_doctype=kind in {"docx", "pptx", "xlsx", "xlsb"})
        names = [entry.name.lower() for entry in entries]
        if any(part.endswith("vbaproject.bin") or part.startswith(("basic/", "scripts/")) for part in names):
            findings.flags.add("macros")
        if any("/embeddings/" in part or "/activex/" in part for part in names):
            findings.flags.add("embedded-objects")
    file.seek(0)
    with contextlib.suppress(TextLimitReached):
        readers_by_kind.READERS[kind](file, findings)
    findings.title = _title(findings)
    if not any(element.text for element in findings.elements):
        findings.flags.add("no-text")
    sample = "\n".join(element.text for element in findings.elements[:400])
    findings.languages = limits.languages or language.detect(sample)
    return findings


def _title(findings: Findings) -> str | None:
    """Return the file's own title unless it is a program's placeholder; otherwise the first heading near the top."""
    if findings.title and findings.title.strip().lower() not in _PLACEHOLDERS:
        return findings.title
    if findings.kind in _SHEETS:
        return None
    return next((element.text for element in findings.elements[:5] if element.category == "Title"), None)


def _report(findings: Findings) -> dict[str, Any]:
    return {
        "media_type": KINDS[findings.kind][0],
        "elements": findings.elements,
        "pages": findings.pages,
        "parser": findings.parser or f"unstructured {version('unstructured')}",
        "languages": list(findings.languages)[:10],
        "title": (findings.title or "")[:500] or None,
        "metadata": findings.metadata,
        "flags": sorted(findings.flags),
        "attachments": [[name, media_type] for name, media_type, _ in findings.attachments],
    }
