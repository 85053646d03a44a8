"""Word and PowerPoint by unstructured's partitioners; properties and external links from the package itself."""

from __future__ import annotations

import re
import zipfile
from typing import Any, BinaryIO

from lxml import etree

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.markup import add_elements
from pipeline.parse.readers.xml_parts import parse_part, value

_EXTERNAL = re.compile(rb"<Relationship\b[^>]*TargetMode=[\"']External[\"'][^>]*>")
_HARMLESS = re.compile(rb"/relationships/(?:hyperlink|media|video|audio)[\"']")


def read_docx(file: BinaryIO, findings: Findings) -> None:
    """Read a Word document. Raises Rejected("damaged")."""
    from unstructured.partition.docx import partition_docx

    read_properties(file, findings)
    try:
        elements = partition_docx(file=file, include_page_breaks=False, languages=[""])
    except (KeyError, ValueError, etree.XMLSyntaxError, AttributeError) as error:
        raise _damaged("Word") from error
    add_elements(findings, elements)
    findings.pages = max([findings.pages, *(row.page or 0 for row in findings.elements)])


def read_pptx(file: BinaryIO, findings: Findings) -> None:
    """Read a PowerPoint presentation with its notes; slides are the pages. Raises Rejected("damaged")."""
    from pptx.exc import PackageNotFoundError
    from unstructured.partition.pptx import partition_pptx

    read_properties(file, findings)
    try:
        elements = partition_pptx(file=file, include_page_breaks=False, include_slide_notes=True, languages=[""])
    except (KeyError, ValueError, etree.XMLSyntaxError, AttributeError, PackageNotFoundError) as error:
        raise _damaged("PowerPoint") from error
    add_elements(findings, elements)
    findings.pages = max([findings.pages, *(row.page or 0 for row in findings.elements)])


def read_properties(file: BinaryIO, findings: Findings) -> None:
    """Read title, author, dates and pages of an OOXML package, and flag external links.

    Leaves the file at its beginning.
    """
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        relations = (archive.read(name) for name in names if name.endswith(".rels"))
        if any(not _HARMLESS.search(link) for relation in relations for link in _EXTERNAL.findall(relation)):
            findings.flags.add("external-links")
        core = _part(archive, "docProps/core.xml", names)
        extended = _part(archive, "docProps/app.xml", names)
    if core is not None:
        findings.title = findings.title or value(core, "title") or None
        findings.add_metadata(
            author=value(core, "creator"),
            created=value(core, "created"),
            modified=value(core, "modified"),
            subject=value(core, "subject"),
            keywords=value(core, "keywords"),
        )
    if extended is not None:
        pages = value(extended, "Pages") or value(extended, "Slides")
        findings.pages = min(int(pages), findings.limits.max_pages) if pages.isdigit() and len(pages) < 7 else 0
    file.seek(0)


def _part(archive: zipfile.ZipFile, name: str, names: list[str]) -> Any:
    """Return the root element of a part; None if it is missing or damaged."""
    if name not in names:
        return None
    try:
        return parse_part(archive.read(name))
    except etree.XMLSyntaxError:
        return None


def _damaged(program: str) -> Rejected:
    return Rejected(
        "damaged", f"The {program} file's parts do not fit together; open it in its own program and save it again."
    )
