"""The lock that makes the writer of an index the only one, in whichever process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from pipeline.errors import Refused


class WriterLock:
    """``root``/writer.lock, held by the operating system's own lock: it ends with the process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: IO[str] | None = None

    @property
    def is_held(self) -> bool:
        """False, too, when somebody took the folder away, or another one was put in its place."""
        if self._held is None:
            return False
        try:
            return os.path.samestat(os.fstat(self._held.fileno()), (self._root / "writer.lock").stat())
        except (OSError, ValueError):  # ValueError: released
            return False

    def take(self) -> None:
        """Take it, or keep it. Raises Refused("conflict") when another writer holds it, OSError."""
        if self.is_held:
            return
        self._root.mkdir(parents=True, exist_ok=True)
        lock = (self._root / "writer.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise Refused("conflict", f"Another writer holds the index in {self._root}.") from None
        self._held = lock

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
