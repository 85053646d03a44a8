"""Queries from a CSV file, as spreadsheets and people write it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import Refused

QUERY = "query"
#: Columns that narrow, by the words of the command line, and the API's names of them.
FILTERS = {
    "type": "label",
    "state": "state",
    "source": "source",
    "language": "language",
    "owner": "owner",
    "meta": "metadata",
    "folder": "folder",
    "since": "received_from",
    "until": "received_to",
}
#: Filters of one value; the others take alternatives with a bar between them.
SINGLE = ("folder", "since", "until")
SEPARATORS = ",;\t"
MAX_BYTES = 64 << 20
#: Characters of a cell or a line that are told of a row that could not be read.
TOLD = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A row: the line that it begins on, counted from 1 with the header; its filters as the API names them; or what is wrong
    with it."""

    line: int
    query: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def read(file: Path) -> list[Asked]:
    """The rows of a file whose first row names its columns: QUERY, and any of FILTERS.

    Commas, semicolons or tabs between the cells, as the header has them. UTF-8 or UTF-16 with a mark, UTF-8, else
    Windows-1252. Empty rows are passed over. Raises Refused("bad-request").
    """
    lines = io.StringIO(_text(file), newline="").readlines()
    records = _records(lines, _separator(lines, file))
    _, header, error = next(records, (1, [], ""))
    columns = _columns(header, error, file)
    asked = [_asked(columns, *record) for record in records]
    if not asked:
        raise Refused("bad-request", f"{file} has a header and no query below it.")
    return asked


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise Refused("bad-request", f"{file} has more than {MAX_BYTES >> 20} MiB; split it.")
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Refused("bad-request", f"{file} is in no known encoding; save it as CSV in UTF-8.")


def _separator(lines: Sequence[str], file: Path) -> str:
    header = next((line for line in lines if line.strip()), None)
    if header is None:
        raise Refused("bad-request", f"{file} is empty; its first row names its columns, {QUERY!r} among them.")
    return max(SEPARATORS, key=header.count)


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str], str]]:
    """(line, cells, error) of every row that is not empty. After a row with a quote too many or too few the next line is a
    new row, so that it swallows no other."""
    at = 0
    while at < len(lines):
        rest = (lines[number] for number in range(at, len(lines)))
        # Not strict, it would drop quotes in the middle of a cell, and with them what the query means.
        reader = csv.reader(rest, delimiter=separator, strict=True)
        try:
            cells, error, taken = next(reader), "", reader.line_num
        except csv.Error as fault:
            cells, error, taken = [lines[at].strip()[:TOLD]], _advice(fault), 1
        if error or any(cell.strip() for cell in cells):
            yield at + 1, cells, error
        at += taken


def _advice(fault: csv.Error) -> str:
    return f'the row is not CSV ({fault}); a cell with quotes in it is written between quotes, each doubled: """two words"""'


def _columns(header: Sequence[str], error: str, file: Path) -> list[str]:
    if error:
        raise Refused("bad-request", f"{file}, header: {error}.")
    columns = [name.strip().lower() for name in header]
    while columns and not columns[-1]:
        columns.pop()
    known = f"there are {QUERY}, {', '.join(FILTERS)}"
    if unknown := [name for name in columns if name != QUERY and name not in FILTERS]:
        named = ", ".join(repr(name[:TOLD]) for name in unknown)
        raise Refused("bad-request", f"{file} has columns that mean nothing here: {named}; {known}.")
    if QUERY not in columns:
        raise Refused("bad-request", f"{file} has no column {QUERY!r}; {known}.")
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise Refused("bad-request", f"{file} has a column more than once: {', '.join(twice)}.")
    return columns


def _asked(columns: Sequence[str], line: int, cells: Sequence[str], error: str) -> Asked:
    if error:
        return Asked(line, cells[0], error=f"bad-request: {error}")
    values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    query = values.pop(QUERY, "")
    if any(cell.strip() for cell in cells[len(columns) :]):
        more = f"the row has {len(cells)} cells, the header {len(columns)}; put a cell with a separator in it between quotes"
        return Asked(line, query, error=f"bad-request: {more}")
    if not query:
        return Asked(line, query, error="bad-request: the query is empty")
    filters = {FILTERS[name]: _alternatives(name, value) for name, value in values.items() if value}
    return Asked(line, query, filters)


def _alternatives(name: str, value: str) -> str | list[str]:
    if name in SINGLE:
        return value
    return [part.strip() for part in value.split("|") if part.strip()]
