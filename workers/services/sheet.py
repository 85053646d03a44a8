"""CSV for spreadsheets: complete or absent, and without formulas that came from a document."""

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

#: What a spreadsheet takes for the start of a formula: full-width signs, too, and blanks that it may drop before one.
_FORMULA = re.compile("[ \t\r\n\u00a0\ufeff]*[=+@\uff0b\uff0d\uff1d\uff20-]|[\t\r\n]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def cell(value: object) -> object:
    """Return a value for a cell: a text that would be a formula gets an apostrophe, control characters are replaced.

    Numbers stay numbers, negative ones, too; None is an empty cell.
    """
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub("\ufffd", value)
    return f"'{text}" if _FORMULA.match(text) else text


@contextmanager
def open_sheet(file: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence[object]], None]]:
    """Yield a function that writes a row.

    If the block ends without an error, the file replaces an earlier one of its name; otherwise nothing remains. It is
    UTF-8 with a byte order mark, which spreadsheets need, and readable by its owner only, since it quotes documents.

    Raises Refused("bad-request") if the file cannot be written.
    """
    with _refusing(file):
        handle, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as stream:
            table = csv.writer(stream)

            def write(row: Sequence[object]) -> None:
                with _refusing(file):
                    table.writerow([cell(value) for value in row])

            write(columns)
            yield write
            with _refusing(file):
                sync(stream)
        with _refusing(file):
            Path(temporary).replace(file)
            sync_folder(file.parent)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def _refusing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be written: {error.strerror or error}.") from error
