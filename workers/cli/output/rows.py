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
#: Filter columns by the command line's names, and the API's names for them.
FILTERS = {
    "type": "label",
    "state": "state",
    "source": "source",
    "language": "language",
    "owner": "owner",
    "personal-data": "personal_data",
    "meta": "metadata",
    "folder": "folder",
    "since": "received_from",
    "until": "received_to",
}
#: Filters with one value; the others take alternatives separated by a bar.
SINGLE = ("folder", "since", "until")
SEPARATORS = ",;\t"
MAX_BYTES = 64 << 20
ADVICE = 'a cell with quotes in it is written between quotes, each doubled: """two words"""'
#: Characters of a cell or a line that a report about an unreadable row quotes.
QUOTED = 200


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query with its filters by the API's names, or the error of its row.

    ``line`` is where the row begins, counted from 1 with the header.
    """

    line: int
    query: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""


def read(file: Path) -> list[QueryRow]:
    """Read the rows of a CSV file whose first row names its columns: QUERY, and any of FILTERS.

    Cells are separated by commas, semicolons or tabs, as in the header. The encoding is UTF-8, UTF-16 with a byte order
    mark, or Windows-1252. Empty rows are skipped. Raises Refused("bad-request").
    """
    lines = io.StringIO(_text(file), newline="").readlines()
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise Refused("bad-request", f"{file} is empty; its first row names its columns, {QUERY!r} among them.")
    records = _records(lines, max(SEPARATORS, key=first.count))
    _, header, error = next(records, (1, [], ""))
    columns = _columns(header, error, file)
    rows = [_row(columns, *record) for record in records]
    if not rows:
        raise Refused("bad-request", f"{file} has a header and no query below it.")
    return rows


def _text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise Refused("bad-request", f"{file} has more than {MAX_BYTES >> 20} MiB; split it.")
    utf_16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if utf_16 else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Refused("bad-request", f"{file} is in an unknown encoding; save it as CSV in UTF-8.")


def _records(lines: Sequence[str], separator: str) -> Iterator[tuple[int, list[str], str]]:
    """Yield (line, cells, error) for every row that is not empty. After a row with a quote too many or too few the next
    line is a new row, so that the faulty one swallows no other."""
    start = 0
    while start < len(lines):
        rest = (lines[number] for number in range(start, len(lines)))
        # If it were not strict, it would drop quotes in the middle of a cell, and with them what the query means.
        reader = csv.reader(rest, delimiter=separator, strict=True)
        try:
            cells, error, count = next(reader), "", reader.line_num
        except csv.Error as fault:
            cells, error, count = [lines[start].strip()[:QUOTED]], f"the row is not CSV ({fault}); {ADVICE}", 1
        if error or any(cell.strip() for cell in cells):
            yield start + 1, cells, error
        start += count


def _columns(header: Sequence[str], error: str, file: Path) -> list[str]:
    if error:
        raise Refused("bad-request", f"{file}, header: {error}.")
    columns = [name.strip().lower() for name in header]
    while columns and not columns[-1]:
        columns.pop()
    names = f"there are {QUERY}, {', '.join(FILTERS)}"
    if unknown := [name for name in columns if name != QUERY and name not in FILTERS]:
        quoted = ", ".join(repr(name[:QUOTED]) for name in unknown)
        raise Refused("bad-request", f"{file} has columns that mean nothing here: {quoted}; {names}.")
    if QUERY not in columns:
        raise Refused("bad-request", f"{file} has no column {QUERY!r}; {names}.")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise Refused("bad-request", f"{file} has a column more than once: {', '.join(repeated)}.")
    return columns


def _row(columns: Sequence[str], line: int, cells: Sequence[str], error: str) -> QueryRow:
    if error:
        return QueryRow(line, cells[0], error=f"bad-request: {error}")
    values = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
    query = values.pop(QUERY, "")
    if any(cell.strip() for cell in cells[len(columns) :]):
        counts = f"the row has {len(cells)} cells, the header {len(columns)}"
        return QueryRow(line, query, error=f"bad-request: {counts}; put a cell with a separator in it between quotes")
    if not query:
        return QueryRow(line, query, error="bad-request: the query is empty")
    filters = {
        FILTERS[name]: value if name in SINGLE else [part.strip() for part in value.split("|") if part.strip()]
        for name, value in values.items()
        if value
    }
    return QueryRow(line, query, filters)
