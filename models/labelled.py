"""Labelled texts from a file that people made: a golden set, or what a comparison is measured on.

A CSV with a header, or JSON lines, in UTF-8. Each row has a ``label`` (or, in JSON, ``labels``, where a text may have
several) and one of ``text``, ``path`` (of a file, relative to the list's folder) or ``document`` (an id of the
catalogue). A row that cannot be used ends the reading with its
number and what is wrong: figures over silently dropped rows would be figures of another set.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.durable import translated
from pipeline.errors import Refused

MAX_ROWS = 200_000
MAX_BYTES = 1 << 30
MAX_LABEL = 200
MAX_TEXT = 10_000_000
SOURCES = ("text", "path", "document")


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
    """The rows in order, and the SHA-256 of the file. Raises Refused("bad-request") naming the row."""
    with translated(path):
        if not path.is_file():
            raise Refused("not-found", f"There is no file {path}.")
        if path.stat().st_size > MAX_BYTES:
            raise Refused("bad-request", f"{path} is larger than {MAX_BYTES >> 20} MiB; give a sample of it.")
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise Refused("bad-request", f"{path}, line {row}: not UTF-8; save the list as UTF-8.") from error
    rows = _json_rows(path, text) if path.suffix in (".jsonl", ".ndjson") else _csv_rows(path, text)
    found: list[Labelled] = []
    for number, row in rows:
        if len(found) >= MAX_ROWS:
            raise Refused("bad-request", f"{path} has more than {MAX_ROWS:,} rows; give a sample of them.")
        labelled = _labelled(path, number, row, reading)
        found += [labelled] if labelled else []
    if not found:
        raise Refused("bad-request", f"{path} holds no labelled row.")
    return tuple(found), hashlib.sha256(content).hexdigest()


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    csv.field_size_limit(MAX_TEXT)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    _check_columns(path, columns)
    reader.fieldnames = columns
    try:
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


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.split("\n"), start=1):
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


def _labelled(path: Path, number: int, row: Mapping[str, object], reading: Reading) -> Labelled | None:
    source = next(name for name in SOURCES if name in row)
    value, given = row[source], row["labels"] if "labels" in row else [row["label"]]
    if not isinstance(given, list) or not given or not all(_is_label(label) for label in given):
        text = f"{path}, line {number}: a label is 1 to {MAX_LABEL} printable characters."
        raise Refused("bad-request", text)
    labels = tuple(label.strip() for label in given)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise Refused("bad-request", f"{path}, line {number}: there is no {source}.")
    if source == "text":
        return Labelled(f"line {number}", value, labels)
    if source == "document":
        text = reading.document(value)
        return None if text is None else Labelled(value, text, labels, document=True)
    file = path.parent / value
    if not file.is_file():
        raise Refused("bad-request", f"{path}, line {number}: there is no file {value[:200]!r} beside the list.")
    return Labelled(value, reading.file(file), labels)


def _is_label(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= MAX_LABEL and value.strip().isprintable()
