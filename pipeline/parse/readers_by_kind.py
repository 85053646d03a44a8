"""The reader of each kind. A reader takes (file, findings), adds elements, and raises Rejected or TextLimitReached."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from pipeline.parse.findings import Findings
from pipeline.parse.kinds import IMAGES
from pipeline.parse.readers import images, legacy, mail, markup, office, opendocument, pdf, sheets, text

READERS: dict[str, Callable[[BinaryIO, Findings], None]] = {
    "pdf": pdf.read,
    "docx": office.read_docx,
    "pptx": office.read_pptx,
    "xlsx": sheets.read_xlsx,
    "xlsb": sheets.read_workbook,
    "xls": sheets.read_workbook,
    "ods": sheets.read_workbook,
    "odt": opendocument.read,
    "odp": opendocument.read,
    "epub": markup.read_epub,
    "rtf": markup.read_rtf,
    "html": markup.read_html,
    "md": markup.read_markdown,
    "xml": markup.read_xml,
    "eml": mail.read_eml,
    "msg": mail.read_msg,
    "csv": sheets.read_csv,
    "tsv": sheets.read_csv,
    "json": text.read,
    "txt": text.read,
    "doc": legacy.read_word,
    "ppt": legacy.read_powerpoint,
    **dict.fromkeys(IMAGES, images.read),
}
