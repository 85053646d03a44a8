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

from pipeline.disk import locked, sync
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

    def backups(self) -> list[Path]:
        """Return the folders that backups were written to."""
        try:
            return [Path(folder) for folder in json.loads(self._backups.read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return []


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
