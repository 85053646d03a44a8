"""Backup and restore of an installation while it serves.

    DIR/manifest.json       what the backup consists of, with digests; written last
    DIR/catalogue/N/        the rows of every table, as JSON lines, of one moment
    DIR/blobs/aa/bb/DIGEST  the originals; those that are there already are not copied again
    DIR/files/              settings, rules, model versions, the installation's key
    DIR/erased.txt          what was erased, also after the backup: `tombstones`

The rows are the catalogue's own, so a backup of SQLite is restored into PostgreSQL, and the other way round.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.disk import ProcessLock, replacement, sync_folder, translated, write_durably
from pipeline.errors import Refused
from pipeline.ports import Blobs
from workers.services import tombstones
from workers.services.installation_key import FILE as KEY_FILE
from workers.services.installation_key import InstallationKey
from workers.services.rebuild import REBUILD_REQUEST
from workers.services.tombstones import Tombstones
from workers.settings import Settings

if TYPE_CHECKING:
    from indexes.catalogue.catalogue import Catalogue

MANIFEST, VERSION = "manifest.json", 1
#: Bytes copied at a time.
_PIECE = 1 << 20

#: Is called with the number of originals that are done.
Report = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BackupManifest:
    """What a backup consists of.

    ``files`` are digests by path in the folder, of everything but the originals, which bear theirs as their names;
    ``missing`` are originals that were erased while the backup was made. ``models``: the versions in it.
    """

    created_at: float
    revision: str
    rows: str
    counts: Mapping[str, int]
    files: Mapping[str, str]
    originals: int
    bytes: int
    missing: Sequence[str] = ()
    models: Sequence[str] = ()
    version: int = VERSION


class BackupService:
    """Writes and restores backups of the installation of ``settings``."""

    def __init__(self, catalogue: Catalogue, blobs: Blobs, settings: Settings) -> None:
        self._catalogue, self._blobs, self._settings = catalogue, blobs, settings
        self._key = InstallationKey(settings.home)
        self._tombstones = Tombstones(settings.home, self._key)

    def write(self, folder: Path, report: Report) -> BackupManifest:
        """Write a backup to ``folder``, or bring the one that is there up to date; return what it consists of.

        The rows come first: the bytes of each are on disk before it. Raises Refused("conflict") while another process
        writes to the folder, Unavailable where it cannot be written.
        """
        with translated(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with ProcessLock(folder / "lock", "A backup to this folder"):
                return self._write(folder, report)

    def _write(self, folder: Path, report: Report) -> BackupManifest:
        number = max((int(path.name) for path in (folder / "catalogue").glob("[0-9]*")), default=0) + 1
        rows = folder / "catalogue" / str(number)
        rows.mkdir(parents=True, mode=0o700)
        self._key.public  # noqa: B018  (the key exists from here on, and is part of the backup)
        with self._catalogue.transfer.snapshot(folder / "snapshot.db") as snapshot:
            created_at, counts = time.time(), snapshot.write(rows)
            digests = snapshot.content_hashes()
        missing, size = self._copy_originals(folder / "blobs", digests, report)
        models = self._copy_files(folder / "files")
        self._tombstones.add_backup(folder.absolute())
        self._tombstones.copy_to(folder)
        files = [*rows.iterdir(), *(path for path in (folder / "files").rglob("*") if path.is_file())]
        manifest = BackupManifest(
            created_at=created_at,
            revision=snapshot.revision,
            rows=f"catalogue/{number}",
            counts=counts,
            files={str(path.relative_to(folder)): _digest(path) for path in sorted(files)},
            originals=len(digests) - len(missing),
            bytes=size,
            missing=missing,
            models=models,
        )
        sync_folder(rows)
        write_durably(folder / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
        _drop_former(folder, manifest, digests)
        return manifest

    def _copy_originals(self, target: Path, digests: Sequence[str], report: Report) -> tuple[list[str], int]:
        """Copy what is not there yet, verified; return the digests of those that were erased meanwhile, and the size of
        all."""
        missing, size = [], 0
        for count, digest in enumerate(digests, 1):
            path = _place(target, digest)
            try:
                if not path.exists():
                    with self._blobs.open(digest) as source:
                        _copy_verified(source, path, digest)
                size += path.stat().st_size
            except KeyError:
                missing.append(digest)
            report(count)
        return missing, size

    def _copy_files(self, target: Path) -> list[str]:
        """Copy settings, rules, the key and the own model versions; return the versions' names."""
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        home = self._settings.home
        rules = self._settings.rules_path
        for path in (home / "mailroom.toml", rules, home / KEY_FILE, home / "audit-head"):
            if path is not None and path.is_file():
                shutil.copy2(path, target / path.name)
        models = self._settings.models_root
        if models.is_dir():
            shutil.copytree(models, target / "models")
        return sorted(f"{path.parent.parent.name}@{path.parent.name}" for path in models.glob("*/*/model.toml"))

    def restore(self, folder: Path, report: Report) -> BackupManifest:
        """Restore a backup into this installation, which must have no documents; return what it consisted of.

        Documents that were erased since are left out. The index is built anew by the index writer. Raises
        Refused("bad-request") for a folder that holds no complete backup, "conflict" where documents exist.
        """
        manifest = read_manifest(folder)
        transfer, rows = self._catalogue.transfer, folder / manifest.rows
        transfer.check_target(manifest.revision)
        erased = frozenset(transfer.erased_ids(rows, self._is_erased(folder)))
        digests = transfer.digests_in(rows, erased)
        for count, digest in enumerate(digests, 1):
            if digest not in manifest.missing:
                self._restore_original(_place(folder / "blobs", digest), digest)
            report(count)
        self._restore_files(folder / "files")
        self._tombstones.merge(folder / tombstones.FILE)
        transfer.read(rows, erased)
        self._settings.index_path.mkdir(parents=True, exist_ok=True)
        (self._settings.index_path / REBUILD_REQUEST).touch()
        return manifest

    def _is_erased(self, folder: Path) -> Callable[[str], bool]:
        """Return what decides whether a document's id is in the backup's list or in this installation's."""
        lists = [(self._tombstones, self._tombstones.hashes())]
        other = Tombstones(folder / "files", InstallationKey(folder / "files"))
        if (folder / "files" / KEY_FILE).exists():
            lists.append((other, other.hashes(folder / tombstones.FILE)))
        lists = [(stones, hashes) for stones, hashes in lists if hashes]
        return lambda document_id: any(stones.is_erased(document_id, hashes) for stones, hashes in lists)

    def _restore_original(self, path: Path, digest: str) -> None:
        if not path.is_file():
            raise Refused("bad-request", f"{path} of the backup is missing; use another backup.")
        with path.open("rb") as source:
            stored, _ = self._blobs.put(_pieces(source), path.stat().st_size)
        if stored != digest:
            self._blobs.delete(stored)
            raise Refused("bad-request", f"{path} is damaged: its content is not what its name says.")

    def _restore_files(self, source: Path) -> None:
        """Put settings, rules, key and models where they are missing."""
        home, models = self._settings.home, self._settings.models_root
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in source.iterdir():
            target = home / path.name
            if path.is_file() and not target.exists():
                shutil.copy2(path, target)
        for version in (source / "models").glob("*/*"):
            target = models / version.relative_to(source / "models")
            if not target.exists():
                shutil.copytree(version, target)


def read_manifest(folder: Path) -> BackupManifest:
    """Read a backup's manifest and verify every file that it names. Raises Refused("bad-request")."""
    try:
        manifest = BackupManifest(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise Refused("bad-request", f"{folder} holds no complete backup: {error}") from error
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file() or _digest(path) != digest:
            raise Refused("bad-request", f"{path} of the backup is missing or altered; use another backup.")
    return manifest


def _drop_former(folder: Path, manifest: BackupManifest, digests: Sequence[str]) -> None:
    """Remove the rows of the backup before, and originals that no row names any more."""
    for path in (folder / "catalogue").iterdir():
        if path != folder / manifest.rows:
            shutil.rmtree(path, ignore_errors=True)
    current = set(digests)
    for path in (folder / "blobs").glob("??/??/*"):
        if path.name not in current:
            path.unlink()


def _place(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest[2:4] / digest


def _copy_verified(source: BinaryIO, path: Path, digest: str) -> None:
    """Copy an original durably. Raises Refused("bad-request") if its content is not what its name says."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sha256 = hashlib.sha256()
    with replacement(path, 0o600) as out:
        for piece in _pieces(source):
            sha256.update(piece)
            out.write(piece)
        if sha256.hexdigest() != digest:
            raise Refused("bad-request", f"The original {digest} is damaged; it was not backed up.")


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
