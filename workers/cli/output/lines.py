"""The lines of a text file that a command is given."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import Refused


def lines_of(file: Path) -> list[str]:
    """Return the lines of a UTF-8 file, with or without a byte order mark. Raises Refused("bad-request")."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refused("bad-request", f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
