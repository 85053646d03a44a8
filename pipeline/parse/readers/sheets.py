"""Spreadsheets and separated values: calamine and the csv module; a Table element for each block of rows.

The number of a sheet is its page. Formulas are not evaluated: the stored values are read unchanged.
"""

from __future__ import annotations

import csv
import datetime
import functools
import html
import io
import os
import re
import struct
import zipfile
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.errors import Rejected
from pipeline.parse.findings import Findings
from pipeline.parse.readers.office import read_properties
from pipeline.parse.readers.text import decode

_ROWS_PER_TABLE = 50
_CHARS_PER_TABLE = 8000
_MAX_CELL = 32_767
_MAX_COLUMNS = 16_384
#: calamine allocates a sheet's full rectangle: above this many cells the sparse reader is used
_DENSE_CELLS = 20_000_000
_REFERENCE = re.compile(rb"<(?:\w+:)?c [^>]{0,200}?r=\"([A-Z]{1,3})([0-9]{1,7})\"")
_SHEET_PART = re.compile(r"xl/worksheets/[^/]+\.xml$")
_PROTECTED = "The workbook is protected by a password; remove it and send the file again."
_DELIMITERS = ",;\t|"


def read_csv(file: BinaryIO, findings: Findings) -> None:
    """Read comma- or tab-separated values into Table elements. Raises TextLimitReached."""
    findings.parser = "mailroom csv 1"
    findings.pages = 1
    data = file.read(4 * findings.limits.max_text_chars + 4)
    if file.read(1):
        findings.flags.add("truncated")
    text = decode(data).replace("\0", "")
    csv.field_size_limit(1_000_000)
    delimiter = "\t" if findings.kind == "tsv" else sniff(text[:65536])
    try:
        add_rows(findings, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1)
    except csv.Error:
        # An unbalanced quote puts the rest into one field: split the lines without quoting rules.
        findings.flags.add("malformed")
        findings.elements.clear()
        add_rows(findings, (line.split(delimiter) for line in text.splitlines()), 1)


def sniff(head: str) -> str:
    """Return the delimiter that every one of the first lines has most of; if none is in all, the most frequent."""
    lines = [line for line in head.splitlines()[:50] if line.strip()][:20]
    scores = {d: min((line.count(d) for line in lines), default=0) for d in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda d: scores[d])
    return best if scores[best] else max(_DELIMITERS, key=lambda d: sum(line.count(d) for line in lines))


def read_xlsx(file: BinaryIO, findings: Findings) -> None:
    """Read an XLSX workbook, by the sparse reader if a sheet's rectangle is very large. Raises Rejected."""
    read_properties(file, findings)
    findings.pages = 0
    if largest_rectangle(file) > _DENSE_CELLS:
        _read_sparse(file, findings)
    else:
        read_workbook(file, findings)


def read_workbook(file: BinaryIO, findings: Findings) -> None:
    """Read a workbook that calamine supports (XLSX, XLSB, XLS, ODS), sheet by sheet. Raises Rejected."""
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError, SheetTypeEnum

    findings.parser = f"calamine {version('python-calamine')}"
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(file.read()))
    except PasswordError as error:
        raise Rejected("encrypted", _PROTECTED) from error
    except CalamineError as error:
        if findings.kind == "xls":
            return _read_old(file, findings)
        if findings.kind == "xlsx":
            return _read_sparse(file, findings)
        raise _damaged() from error
    sheets = [s for s in book.sheets_metadata if s.typ == SheetTypeEnum.WorkSheet]
    _check_count(len(sheets), findings)
    for number, sheet in enumerate(sheets, 1):
        findings.pages = number
        try:
            rows = book.get_sheet_by_name(sheet.name).iter_rows()
        except CalamineError:
            findings.flags.add("sheet-unreadable")
            continue
        _add_sheet(findings, sheet.name, rows, number)


def _read_old(file: BinaryIO, findings: Findings) -> None:
    """Read what calamine cannot by xlrd: worksheets from before 1993, and protected ones."""
    import xlrd

    findings.parser = f"xlrd {version('xlrd')}"
    file.seek(0)
    try:
        with Path(os.devnull).open("w") as log:
            book = xlrd.open_workbook(file_contents=file.read(), on_demand=True, logfile=log)
            _check_count(book.nsheets, findings)
            for number, sheet in enumerate(book.sheets(), 1):
                findings.pages = number
                _add_sheet(findings, sheet.name, (sheet.row_values(i) for i in range(sheet.nrows)), number)
    except (xlrd.XLRDError, xlrd.compdoc.CompDocError) as error:
        if "encrypt" in str(error).lower() or "password" in str(error).lower():
            raise Rejected("encrypted", _PROTECTED) from error
        raise _damaged() from error
    except (AssertionError, IndexError, KeyError, ValueError, struct.error, UnicodeError) as error:
        raise _damaged() from error


def _damaged() -> Rejected:
    return Rejected("damaged", "The workbook cannot be read; open it in its own program and save it again.")


def _check_count(sheets: int, findings: Findings) -> None:
    if sheets > findings.limits.max_pages:
        raise Rejected("too-many-pages", f"The workbook has {sheets} sheets; the limit is {findings.limits.max_pages}.")


def _add_sheet(findings: Findings, name: str, rows: Iterable[Sequence[Any]], number: int) -> None:
    before = len(findings.elements)
    findings.add("Title", name, number, 0)
    add_rows(findings, rows, number)
    if len(findings.elements) == before + 1:
        title = findings.elements.pop()  # the name alone is not text worth indexing
        findings.characters -= len(title.text)


def add_rows(findings: Findings, rows: Iterable[Sequence[Any]], page: int | None) -> None:
    """Add blocks of rows as Table elements: the cells joined by " | ", and as HTML. Raises TextLimitReached."""
    block: list[list[str]] = []
    characters = cells = 0
    for row in rows:
        values = [cell_text(value) for value in row[:_MAX_COLUMNS]]
        while values and not values[-1]:
            values.pop()
        if not values:
            continue
        cells += len(values)
        characters += sum(map(len, values))
        block.append(values)
        if len(block) >= _ROWS_PER_TABLE or characters >= _CHARS_PER_TABLE:
            _add_table(findings, block, page)
            block, characters = [], 0
        if cells > findings.limits.max_cells:
            findings.flags.add("truncated")
            break
    _add_table(findings, block, page)


def cell_text(value: Any) -> str:
    """Return a cell's value as text on one line: whole numbers without a point, dates in ISO form."""
    if isinstance(value, str):
        return " ".join(value[:_MAX_CELL].split())
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return "" if value is None else str(value)[:_MAX_CELL]


def _add_table(findings: Findings, block: list[list[str]], page: int | None) -> None:
    if not block:
        return
    text = "\n".join(" | ".join(values) for values in block)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(v)}</td>" for v in values) + "</tr>" for values in block)
    findings.add("Table", text, page, None, f"<table>{body}</table>")


def largest_rectangle(file: BinaryIO) -> int:
    """Return rows times columns of the rectangle around the cells of the sheet where it is largest."""
    largest = 0
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if not _SHEET_PART.match(name):
                continue
            bottom = right = 0
            tail = b""
            with archive.open(name) as part:
                while data := part.read(1 << 20):
                    for column, row in _REFERENCE.findall(tail + data):
                        number = functools.reduce(lambda total, letter: 26 * total + letter - 64, column, 0)  # "A" is 1
                        bottom, right = max(bottom, int(row)), max(right, number)
                    tail = data[-300:]
            largest = max(largest, bottom * right)
    file.seek(0)
    return largest


def _read_sparse(file: BinaryIO, findings: Findings) -> None:
    """Read row by row with openpyxl, which does not allocate the rectangle."""
    import openpyxl

    findings.parser = f"openpyxl {version('openpyxl')}"
    file.seek(0)
    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
    except (KeyError, ValueError, TypeError, openpyxl.utils.exceptions.InvalidFileException) as error:
        raise _damaged() from error
    _check_count(len(book.worksheets), findings)
    for number, sheet in enumerate(book.worksheets, 1):
        findings.pages = number
        sheet.reset_dimensions()
        rows = ([cell.value for cell in row if cell.value is not None] for row in sheet.iter_rows())
        _add_sheet(findings, sheet.title, rows, number)
