"""A file of lines, as the command line is given one."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import Refused


def lines_of(file: Path) -> list[str]:
    """UTF-8, with or without a mark. Raises Refused("bad-request")."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refused("bad-request", f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
