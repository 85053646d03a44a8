"""A table for a spreadsheet: CSV that is whole or not there, and in which no document's words become a formula."""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.disk import sync, sync_folder
from pipeline.errors import Refused

#: What a spreadsheet takes for the beginning of a formula; full-width signs too, and blanks that it may drop before one.
_FORMULA = re.compile("[ \t\r\n\u00a0\ufeff]*[=+@\uff0b\uff0d\uff1d\uff20-]|[\t\r\n]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def cell(value: object) -> object:
    """A value as it goes into the table: a text that would be a formula after an apostrophe, control characters replaced.
    Numbers stay numbers, negative ones too; None is an empty cell."""
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub("\ufffd", value)
    return f"'{text}" if _FORMULA.match(text) else text


@contextmanager
def writing(file: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[object]], None]]:
    """What writes a row. The file takes its name when the block ends well, replacing an earlier one; else nothing is left
    of it. UTF-8 with the mark by which spreadsheets know it; readable by its owner alone, since it quotes documents.

    Raises Refused("bad-request") where the file cannot be written.
    """
    with _translated(file):
        handle, beside = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as stream:
            table = csv.writer(stream)

            def write(row: Sequence[object]) -> None:
                with _translated(file):
                    table.writerow([cell(value) for value in row])

            write(columns)
            yield write
            with _translated(file):
                sync(stream)
        with _translated(file):
            Path(beside).replace(file)
            sync_folder(file.parent)
    finally:
        Path(beside).unlink(missing_ok=True)


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be written: {error.strerror or error}.") from error
