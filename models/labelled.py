"""Labelled texts from a list that people made: for a golden set, for a comparison, for fine-tuning.

A list is a CSV file with a header (separated by commas, semicolons or tabs), or JSON lines, in UTF-8, or in UTF-16
with a byte order mark. Each row has a ``label`` (several of one text separated by ``;``, or in JSON a list as
``labels``) and one of ``text``, ``path`` (of a file, relative to the list's folder) or ``document`` (an id of the
catalogue). Reading stops at the first row that cannot be used and names it: metrics over silently dropped rows would
be those of another set.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from models.registry import digest_of
from pipeline.disk import translated
from pipeline.errors import MailroomError, Refused

MAX_ROWS = 200_000
MAX_BYTES = 1 << 30
MAX_LABEL = 200
MAX_TEXT = 10_000_000
SOURCES = ("text", "path", "document")
SEPARATORS = ",;\t"
#: Between several labels of one text in one cell.
LABEL_SEPARATOR = ";"


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text with its labels, of which any is right.

    ``place`` names the row, never by its text: the file's path, the document's id (then ``document`` is true), or the
    row's line.
    """

    place: str
    text: str
    labels: tuple[str, ...]
    document: bool = False


@dataclass(frozen=True, slots=True)
class TextReaders:
    """Functions that return the text of a row's ``path`` or ``document``.

    Both raise a MailroomError if it cannot be read; ``document`` returns None for one that is to be left out.
    """

    file: Callable[[Path], str]
    document: Callable[[str], str | None]


def read_labelled(path: Path, readers: TextReaders) -> tuple[tuple[LabelledText, ...], str]:
    """Return the rows of a list in order, and the SHA-256 of the file. Raises Refused, see `labelled_rows`."""
    check_list(path)
    return tuple(labelled_rows(path, readers)), digest_of(path)


def check_list(path: Path) -> int:
    """Return the number of rows of a list in which each is well formed. Raises Refused naming the row otherwise.

    No document or file of the list is read, so that a mistake in the last row does not show after hours only. One row
    at a time is in memory.
    """
    with translated(path):
        if not path.is_file():
            raise Refused("not-found", f"There is no file {path}.")
        if path.stat().st_size > MAX_BYTES:
            raise Refused("bad-request", f"{path} is larger than {MAX_BYTES >> 20} MiB; give a sample of it.")
        count = 0
        for count, (line, row) in enumerate(_rows(path), start=1):
            if count > MAX_ROWS:
                raise Refused("bad-request", f"{path} has more than {MAX_ROWS:,} rows; give a sample of them.")
            _checked(path, line, row)
    if not count:
        raise Refused("bad-request", f"{path} holds no labelled row.")
    return count


def labelled_rows(path: Path, readers: TextReaders) -> Iterator[LabelledText]:
    """Yield the rows of a list with their texts.

    Raises Refused("bad-request"), or the error of one of the ``readers``, naming the row.
    """
    for line, row in _rows(path):
        source, value, labels = _checked(path, line, row)
        try:
            if source == "text":
                yield LabelledText(f"line {line}", value, labels)
            elif source == "path":
                yield LabelledText(value, readers.file(path.parent / value), labels)
            elif (text := readers.document(value)) is not None:
                yield LabelledText(value, text, labels, document=True)
        except MailroomError as error:
            raise type(error)(error.code, f"{path}, line {line}: {error.detail}") from error


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield (number of its line, row) of every row."""
    with translated(path), path.open("rb") as stream:
        utf16 = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if utf16 else "utf-8-sig"
    try:
        with translated(path), path.open(encoding=encoding, newline="") as lines:
            yield from (json_rows if path.suffix in (".jsonl", ".ndjson") else csv_rows)(path, lines)
    except UnicodeError as error:
        problem = ": not UTF-16, although it begins so" if utf16 else _undecodable_line(path)
        raise Refused("bad-request", f"{path}{problem}; save the list as UTF-8.") from error


def _undecodable_line(path: Path) -> str:
    """Return which line is the first that is not UTF-8."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return f", line {number}: not UTF-8"
    return ": not UTF-8"


def csv_rows(path: Path, lines: TextIO) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield (number of its line, row) of every row of a CSV list. Raises Refused("bad-request")."""
    csv.field_size_limit(MAX_TEXT)
    header = lines.readline()
    lines.seek(0)
    reader = csv.DictReader(lines, strict=True, delimiter=max(SEPARATORS, key=header.count))
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        if "label" not in columns or len(set(columns)) < len(columns) or len(set(SOURCES) & set(columns)) != 1:
            text = f"{path}: the header must name `label` and one of {', '.join(SOURCES)}, such as `path,label`."
            raise Refused("bad-request", text)
        reader.fieldnames = columns
        for row in reader:
            if None in row or None in row.values():
                text = f"{path}, line {reader.line_num}: the row does not have {len(columns)} columns like the header."
                raise Refused("bad-request", text)
            yield reader.line_num, row
    except csv.Error as error:
        raise Refused("bad-request", f"{path}, line {reader.line_num}: {error}.") from error


def json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Yield (number of its line, row) of every row of a list of JSON lines. Raises Refused("bad-request")."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Refused("bad-request", f"{path}, line {number}: not JSON.") from error
        if (
            not isinstance(row, dict)
            or ("label" in row) == ("labels" in row)
            or sum(name in row for name in SOURCES) != 1
        ):
            text = f"{path}, line {number}: an object with `label` and one of {', '.join(SOURCES)} is needed."
            raise Refused("bad-request", text)
        yield number, row


def _checked(path: Path, line: int, row: Mapping[str, object]) -> tuple[str, str, tuple[str, ...]]:
    """Return (source, its value, labels) of a row. Raises Refused("bad-request") for one that cannot be used."""
    source = next(name for name in SOURCES if name in row)
    value, cells = row[source], row["labels"] if "labels" in row else [row["label"]]
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        cells = []
    parts = (part.strip() for cell in cells for part in cell.split(LABEL_SEPARATOR))
    labels = tuple(dict.fromkeys(part for part in parts if part))
    if not labels or not all(len(label) <= MAX_LABEL and label.isprintable() for label in labels):
        text = f"{path}, line {line}: a label is 1 to {MAX_LABEL} printable characters."
        raise Refused("bad-request", text)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise Refused("bad-request", f"{path}, line {line}: there is no {source}.")
    if source == "path" and not (path.parent / value).is_file():
        raise Refused("bad-request", f"{path}, line {line}: there is no file {value[:200]!r} beside the list.")
    return source, value, labels
