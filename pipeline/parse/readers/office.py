"""Word and PowerPoint by unstructured's partitioners; properties and links from the package itself."""

from __future__ import annotations

import re
import zipfile
from typing import Any, BinaryIO

from lxml import etree

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.markup import add_elements

_EXTERNAL = re.compile(rb"<Relationship\b[^>]*TargetMode=[\"']External[\"'][^>]*>")
_HARMLESS = re.compile(rb"/relationships/(?:hyperlink|media|video|audio)[\"']")


def read_docx(file: BinaryIO, found: Findings) -> None:
    from unstructured.partition.docx import partition_docx

    package_facts(file, found)
    try:
        elements = partition_docx(file=file, include_page_breaks=False, languages=[""])
    except (KeyError, ValueError, etree.XMLSyntaxError, AttributeError) as error:
        raise _damaged("Word") from error
    add_elements(found, elements)
    found.pages = max([found.pages, *(row[2] or 0 for row in found.elements)])


def read_pptx(file: BinaryIO, found: Findings) -> None:
    from pptx.exc import PackageNotFoundError
    from unstructured.partition.pptx import partition_pptx

    package_facts(file, found)
    try:
        elements = partition_pptx(file=file, include_page_breaks=False, include_slide_notes=True, languages=[""])
    except (KeyError, ValueError, etree.XMLSyntaxError, AttributeError, PackageNotFoundError) as error:
        raise _damaged("PowerPoint") from error
    add_elements(found, elements)
    found.pages = max([found.pages, *(row[2] or 0 for row in found.elements)])


def package_facts(file: BinaryIO, found: Findings) -> None:
    """Title, author, dates, pages, and whether the file points to things outside; leaves the file at its beginning."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith(".rels"):
                _flag_links(archive.read(name), found)
        core = _tree(archive, "docProps/core.xml", names)
        extended = _tree(archive, "docProps/app.xml", names)
    if core is not None:
        found.title = found.title or _value(core, "title") or None
        found.note(author=_value(core, "creator"), created=_value(core, "created"), modified=_value(core, "modified"))
        found.note(subject=_value(core, "subject"), keywords=_value(core, "keywords"))
    if extended is not None:
        pages = _value(extended, "Pages") or _value(extended, "Slides")
        found.pages = min(int(pages), 100_000) if pages.isdigit() and len(pages) < 7 else 0
    if found.pages > found.limits.max_pages:
        found.pages = found.limits.max_pages
    file.seek(0)


def _flag_links(relations: bytes, found: Findings) -> None:
    for link in _EXTERNAL.findall(relations):
        if not _HARMLESS.search(link):
            found.flags.add("external-links")


def _tree(archive: zipfile.ZipFile, name: str, names: list[str]) -> Any:
    if name not in names:
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(archive.read(name), parser)
    except etree.XMLSyntaxError:
        return None


def _value(tree: Any, name: str) -> str:
    return str(tree.xpath(f"string(//*[local-name()='{name}'])")).strip()


def _damaged(program: str) -> Rejected:
    return Rejected(
        "damaged", f"The {program} file's parts do not fit together; open it in its own program and save it anew."
    )
