"""Labelled texts from a file that people made: a golden set, what a comparison is measured on, what a fine-tune learns from.

A CSV with a header (commas, semicolons or tabs, as the header has them), or JSON lines, in UTF-8 or UTF-16 with a mark. Each row
has a ``label`` (several of one text with ``;`` between them, or, in JSON, a list of them as ``labels``) and one of ``text``, ``path`` (of a file, relative to the
list's folder) or ``document`` (an id of the catalogue). A row that cannot be used ends the reading with its number and what is
wrong: figures over silently dropped rows would be figures of another set.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from models.durable import translated
from models.registry import digest_of
from pipeline.errors import MailroomError, Refused

MAX_ROWS = 200_000
MAX_BYTES = 1 << 30
MAX_LABEL = 200
MAX_TEXT = 10_000_000
SOURCES = ("text", "path", "document")
SEPARATORS = ",;\t"
#: Between several labels of one text in one cell.
BETWEEN = ";"


@dataclass(frozen=True, slots=True)
class Labelled:
    """``place`` says which row it was: the list's path, the document's id (then ``document`` is set), or its number; never the
    text itself. Any of ``labels`` is right."""

    place: str
    text: str
    labels: tuple[str, ...]
    document: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """How a row's ``path`` and ``document`` become text. Both raise a MailroomError for what cannot be read; ``document``
    gives None for one to be left out."""

    file: Callable[[Path], str]
    document: Callable[[str], str | None]


def read_labelled(path: Path, reading: Reading) -> tuple[tuple[Labelled, ...], str]:
    """The rows in order, and the SHA-256 of the file. Raises Refused naming the row, see `labelled_rows`."""
    check_list(path)
    return tuple(labelled_rows(path, reading)), digest_of(path)


def check_list(path: Path) -> int:
    """How many rows a list has, each of them well formed; no document and no file of it is read yet, so that the last row's mistake
    is not told after hours. A row at a time is held. Raises Refused naming the row."""
    with translated(path):
        if not path.is_file():
            raise Refused("not-found", f"There is no file {path}.")
        if path.stat().st_size > MAX_BYTES:
            raise Refused("bad-request", f"{path} is larger than {MAX_BYTES >> 20} MiB; give a sample of it.")
        count = 0
        for count, (number, row) in enumerate(_rows(path), start=1):
            if count > MAX_ROWS:
                raise Refused("bad-request", f"{path} has more than {MAX_ROWS:,} rows; give a sample of them.")
            _checked(path, number, row)
    if not count:
        raise Refused("bad-request", f"{path} holds no labelled row.")
    return count


def labelled_rows(path: Path, reading: Reading) -> Iterator[Labelled]:
    """The rows of a list, one after the other, with their texts. Raises Refused("bad-request"), or what ``reading`` raises, naming
    the row."""
    for number, row in _rows(path):
        source, value, labels = _checked(path, number, row)
        try:
            labelled = _labelled(path, number, source, value, labels, reading)
        except MailroomError as error:
            raise type(error)(error.code, f"{path}, line {number}: {error.detail}") from error
        if labelled:
            yield labelled


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    """(number of its line, row) of every row."""
    with translated(path), path.open("rb") as stream:
        wide = stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if wide else "utf-8-sig"
    try:
        with translated(path), path.open(encoding=encoding, newline="") as lines:
            yield from (_json_rows if path.suffix in (".jsonl", ".ndjson") else _csv_rows)(path, lines)
    except UnicodeError as error:
        raise Refused("bad-request", f"{path}{_undecodable(path, wide)}; save the list as UTF-8.") from error


def _undecodable(path: Path, wide: bool) -> str:
    """The first line that is not in the encoding."""
    if wide:
        return ": not UTF-16, as its mark says"
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return f", line {number}: not UTF-8"
    return ": not UTF-8"


def _csv_rows(path: Path, lines: TextIO) -> Iterator[tuple[int, Mapping[str, object]]]:
    csv.field_size_limit(MAX_TEXT)
    header = lines.readline()
    lines.seek(0)
    reader = csv.DictReader(lines, strict=True, delimiter=max(SEPARATORS, key=header.count))
    try:
        columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
        _check_columns(path, columns)
        reader.fieldnames = columns
        for row in reader:
            if None in row or None in row.values():
                text = f"{path}, line {reader.line_num}: the row has not {len(columns)} columns like the header."
                raise Refused("bad-request", text)
            yield reader.line_num, row
    except csv.Error as error:
        raise Refused("bad-request", f"{path}, line {reader.line_num}: {error}.") from error


def _check_columns(path: Path, columns: list[str]) -> None:
    sources = [name for name in SOURCES if name in columns]
    if "label" not in columns or len(sources) != 1 or len(set(columns)) < len(columns):
        text = f"{path}: the header must name `label` and one of {', '.join(SOURCES)}, such as `path,label`."
        raise Refused("bad-request", text)


def _json_rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object]]]:
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


def _checked(path: Path, number: int, row: Mapping[str, object]) -> tuple[str, str, tuple[str, ...]]:
    """(source, its value, labels) of a row."""
    source = next(name for name in SOURCES if name in row)
    value, labels = row[source], _labels(row["labels"] if "labels" in row else [row["label"]])
    if not labels or not all(len(label) <= MAX_LABEL and label.isprintable() for label in labels):
        text = f"{path}, line {number}: a label is 1 to {MAX_LABEL} printable characters."
        raise Refused("bad-request", text)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise Refused("bad-request", f"{path}, line {number}: there is no {source}.")
    if source == "path" and not (path.parent / value).is_file():
        raise Refused("bad-request", f"{path}, line {number}: there is no file {value[:200]!r} beside the list.")
    return source, value, labels


def _labels(cells: object) -> tuple[str, ...]:
    """What stands in them, each label once; nothing where one of them is no text."""
    if not isinstance(cells, list) or not all(isinstance(cell, str) for cell in cells):
        return ()
    return tuple(dict.fromkeys(part.strip() for cell in cells for part in cell.split(BETWEEN) if part.strip()))


def _labelled(
    path: Path, number: int, source: str, value: str, labels: tuple[str, ...], reading: Reading
) -> Labelled | None:
    if source == "text":
        return Labelled(f"line {number}", value, labels)
    if source == "document":
        text = reading.document(value)
        return None if text is None else Labelled(value, text, labels, document=True)
    return Labelled(value, reading.file(path.parent / value), labels)
