"""The list of erased documents that outlives them: a restored older backup must not bring them back.

One line for each document, `KEYED HASH TIME`, in the data folder and beside each backup. The hash is made with the
installation's key, so that the list tells nobody what was erased.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.disk import locked, sync, write_durably
from workers.services.installation_key import InstallationKey

FILE, BACKUPS = "erased.txt", "backups.json"
_KIND = "document"


class Tombstones:
    """The erased documents of the installation in ``home``."""

    def __init__(self, home: Path, key: InstallationKey) -> None:
        self.path, self._backups, self._key = home / FILE, home / BACKUPS, key

    def add(self, document_ids: Iterable[str]) -> list[str]:
        """Add documents to the list, durably, here and beside every backup that can be reached; return the folders of
        those backups that cannot. Documents that are in a list already are not added again."""
        pseudonyms = [self._key.pseudonym(_KIND, document_id) for document_id in document_ids]
        missing = []
        for folder in [self.path.parent, *self.backups()]:
            if folder.is_dir():
                _append(folder / FILE, pseudonyms)
            else:
                missing.append(str(folder))
        return missing

    def hashes(self, path: Path | None = None) -> set[str]:
        """Return the keyed hashes of a list: this installation's, or the one at ``path``."""
        return {line.split()[0] for line in _lines(path or self.path)}

    def is_erased(self, document_id: str, hashes: set[str]) -> bool:
        """Return True if a document's keyed hash is among ``hashes``."""
        return self._key.pseudonym(_KIND, document_id) in hashes

    def merge(self, other: Path) -> None:
        """Add the lines of another list to this one."""
        _append(self.path, [line.split()[0] for line in _lines(other)])

    def copy_to(self, folder: Path) -> None:
        """Continue the list beside a backup."""
        _append(folder / FILE, [line.split()[0] for line in _lines(self.path)])

    def backups(self) -> list[Path]:
        """Return the folders that backups were written to."""
        try:
            return [Path(folder) for folder in json.loads(self._backups.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []

    def add_backup(self, folder: Path) -> None:
        """Remember the folder of a backup: the list is continued there."""
        folders = sorted({*map(str, self.backups()), str(folder)})
        write_durably(self._backups, json.dumps(folders).encode())


def _append(path: Path, pseudonyms: Iterable[str]) -> None:
    with locked(path.with_name(f"{path.name}.lock")):
        existing = {line.split()[0] for line in _lines(path)}
        new = [f"{pseudonym} {time.time():.0f}\n" for pseudonym in pseudonyms if pseudonym not in existing]
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w") as file:
            file.writelines(new)
            sync(file)


def _lines(path: Path) -> list[str]:
    """Return the complete lines of a list."""
    try:
        return [line for line in path.read_text(encoding="ascii").splitlines() if len(line.split()) == 2]
    except FileNotFoundError:
        return []
