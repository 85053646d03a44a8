"""The work of the sandboxed child on its one document: detect the kind, run the reader of that kind, send the answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, BinaryIO

from pipeline.errors import Rejected
from pipeline.parse import shim
from pipeline.parse.detect import detect
from pipeline.parse.findings import Findings, Full
from pipeline.parse.kinds import KINDS, ZIPPED
from pipeline.parse.limits import ParseLimits
from pipeline.parse.protocol import pack

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


def answer(request: dict[str, Any], content: int, output: int) -> int:
    """Read the document behind the handle ``content``, write one answer to ``output``, and return the exit status."""
    limits = ParseLimits(**{**request["limits"], "languages": tuple(request["limits"]["languages"])})
    if request["faults"]:
        from pipeline.parse import faults

        faults.obey(content, output)
    head, attachments = _outcome(request["name"], content, limits)
    with socket.socket(fileno=output) as channel:
        for part in pack(head, attachments):
            channel.sendall(part)
    return 0


def _outcome(name: str, content: int, limits: ParseLimits) -> tuple[dict[str, Any], list[bytes]]:
    try:
        with os.fdopen(content, "rb") as file:
            findings = read(file, name, limits)
        return _report(findings), [body for _, _, body in findings.attachments]
    except Rejected as error:
        return {"error": {"code": error.code, "detail": error.detail}}, []
    except MemoryError:
        text = f"Reading needed more than {limits.memory_mb} MB of memory; split the file."
        return {"error": {"code": "memory", "detail": text}}, []
    except RecursionError:
        return {"error": {"code": "too-deep", "detail": "The file is nested too deeply to be read."}}, []
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        text = f"The reader could not make sense of the file ({type(error).__name__}); open it in its own program and save it anew."
        return {"error": {"code": "damaged", "detail": text}}, []


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
        _flag_parts(findings, [entry.name.lower() for entry in entries])
    file.seek(0)
    reader: Callable[[BinaryIO, Findings], None] = readers_by_kind.READERS[kind]
    with contextlib.suppress(Full):
        reader(file, findings)
    findings.title = _title(findings)
    if not any(text for _, text, *_ in findings.elements):
        findings.flags.add("no-text")
    findings.languages = limits.languages or language.detect("\n".join(text for _, text, *_ in findings.elements[:400]))
    return findings


def _title(found: Findings) -> str | None:
    """The title that the file states, unless it is a program's placeholder; otherwise the first heading near the beginning."""
    if found.title and found.title.strip().lower() not in _PLACEHOLDERS:
        return found.title
    if found.kind in _SHEETS:
        return None
    return next((text for category, text, *_ in found.elements[:5] if category == "Title"), None)


def _flag_parts(found: Findings, names: list[str]) -> None:
    if any(name.endswith("vbaproject.bin") or name.startswith(("basic/", "scripts/")) for name in names):
        found.flags.add("macros")
    if any("/embeddings/" in name or "/activex/" in name for name in names):
        found.flags.add("embedded-objects")


def _report(found: Findings) -> dict[str, Any]:
    return {
        "media_type": KINDS[found.kind][0],
        "elements": found.elements,
        "pages": found.pages,
        "parser": found.parser or f"unstructured {version('unstructured')}",
        "languages": list(found.languages)[:10],
        "title": (found.title or "")[:500] or None,
        "metadata": found.metadata,
        "flags": sorted(found.flags),
        "attachments": [[name, media_type] for name, media_type, _ in found.attachments],
    }
