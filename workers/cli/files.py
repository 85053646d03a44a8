"""Files that a command is given: their lines, their bytes, and the files of a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import Refused

#: Bytes that are read at once.
PIECE = 1 << 20


def lines_of(file: Path) -> list[str]:
    """Return the lines of a UTF-8 file, with or without a byte order mark. Raises Refused("bad-request")."""
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise Refused("bad-request", f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refused("bad-request", f"{file} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error


def pieces(file: Path) -> Iterator[bytes]:
    """Yield the file's bytes, a MiB at a time."""
    with file.open("rb") as stream:
        while piece := stream.read(PIECE):
            yield piece


def find_files(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Return every file with its name in the source; folders are searched through, hidden files left out.

    Raises Refused("not-found") for a path that does not exist.
    """
    files = []
    for path in paths:
        if path.is_dir():
            inner = sorted(file for file in path.rglob("*") if file.is_file())
            visible = (file for file in inner if not any(p.startswith(".") for p in file.relative_to(path).parts))
            files += [(file, file.relative_to(path.parent).as_posix()) for file in visible]
        elif path.is_file():
            files.append((path, path.name))
        else:
            raise Refused("not-found", f"There is no file {path}.")
    return files
