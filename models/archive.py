"""A model version as one file, for export to and import from another installation.

An export is a tar file, gzipped if its name says so, with the same bytes for the same version. An import unpacks the
archive beside its destination, checks every name, type and size on the way and every digest afterwards, and only then
renames the folder into place. Until then nothing is changed; afterwards the version is there, but not active.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from models import registry
from models.lock import changing
from pipeline.disk import new_file, sync, sync_folder, translated
from pipeline.errors import Refused
from pipeline.onnx import ModelFolder

#: A member's header may announce this many bytes of names and the like; ours need none.
MAX_READ = 1 << 20
UNPACK_PREFIX = ".import-"
_MEMBER = re.compile(
    r"(?:\./)?([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([\w][\w.-]{0,99})", re.A
)
_FOLDER = re.compile(r"(?:\./)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?/?|\./?")


def export_version(folder: ModelFolder, target: Path) -> None:
    """Write a verified version to ``target`` (.tar, .tar.gz or .tgz).

    Raises Refused("conflict") if the target exists, Refused("bad-request") for another suffix.
    """
    zipped = target.name.endswith((".tar.gz", ".tgz"))
    if not zipped and target.suffix != ".tar":
        raise Refused("bad-request", f"{target.name}: an export is a .tar, a .tar.gz or a .tgz.")
    with translated(target), tempfile.NamedTemporaryFile(dir=target.parent, prefix=".export-") as temporary:
        if zipped:
            with gzip.GzipFile("", "wb", fileobj=temporary, mtime=0) as stream:
                _pack(folder, cast(IO[bytes], stream))
        else:
            _pack(folder, temporary)
        sync(temporary)
        try:
            os.link(temporary.name, target)  # unlike a rename this never replaces
        except FileExistsError:
            raise Refused("conflict", f"{target} is there already; choose another name.") from None
        sync_folder(target.parent)


def _pack(folder: ModelFolder, stream: IO[bytes]) -> None:
    inside = f"{folder.manifest.name}/{folder.manifest.version}"
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([registry.MANIFEST, *folder.manifest.files]):
            file = folder.path / name
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size, member.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                tar.addfile(member, content)


def import_version(root: Path, archive: Path, limit: int) -> ModelFolder:
    """Unpack an archive of one version under ``root`` and return the verified version.

    ``limit`` bounds the unpacked bytes. Raises Refused("bad-model") for a file that is not an archive of a model
    version, Misconfigured("bad-model") for a version whose files are wrong, Refused("conflict") if another version of
    the same name exists already. Nothing is changed in these cases.
    """
    with changing(root):
        for remains in root.glob(f"{UNPACK_PREFIX}*"):  # of an import that was killed: only we hold the lock
            shutil.rmtree(remains, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=UNPACK_PREFIX, dir=root))
        try:
            unpacked = _unpack(archive, temporary, limit)
            folder = registry.verify(unpacked)
            title = f"{unpacked.parent.name}@{unpacked.name}"
            if folder.manifest.title != title:
                raise Refused("bad-model", f"The archive holds {title}, which says it is {folder.manifest.title}.")
            return _install(root, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _install(root: Path, folder: ModelFolder) -> ModelFolder:
    """Rename a verified version into place."""
    manifest = folder.manifest
    present = registry.locate(root, manifest.name, manifest.version)
    if present.exists():
        if registry.verify(present).manifest == manifest:
            raise Refused(
                "conflict", f"{manifest.title} is there already, the same to the byte; there is nothing to do."
            )
        raise Refused("conflict", f"Another {manifest.title} is there already; versions are never replaced.")
    place = root / manifest.name / manifest.version
    place.parent.mkdir(exist_ok=True)
    folder.path.rename(place)
    sync_folder(place.parent)
    sync_folder(root)
    return registry.verify(place)


def _unpack(archive: Path, temporary: Path, limit: int) -> Path:
    """Write the archive's members to a version folder inside ``temporary`` and return that folder."""
    unpacked = temporary / "unpacked"
    try:
        with (
            _uncompressed(archive, temporary / "archive.tar", limit) as stream,
            tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar,
        ):
            for member in tar:
                _write(tar, member, unpacked, limit)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, UnicodeError, ValueError) as error:
        raise Refused("bad-model", f"{archive} is not a tar of a model version ({type(error).__name__}).") from error
    for folder in unpacked.glob("*/*"):
        return folder  # `_write` lets in one only
    raise Refused("bad-model", f"{archive} holds no model version.")


@contextmanager
def _uncompressed(archive: Path, copy: Path, limit: int) -> Iterator[_BoundedReader]:
    """Open the archive without its gzip layer, which is unpacked to ``copy`` in pieces and never past the limit."""
    with archive.open("rb") as packed:
        if packed.read(2) == b"\x1f\x8b":
            packed.seek(0)
            with gzip.open(packed) as stream, copy.open("wb") as target:
                _copy(cast(IO[bytes], stream), target, limit)
            with copy.open("rb") as unpacked:
                yield _BoundedReader(unpacked)
            return
        packed.seek(0)
        yield _BoundedReader(packed)


class _BoundedReader:
    """Reads a file in small pieces only: a header that announces gigabytes of itself is refused, not fetched."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise Refused("bad-model", "The archive's headers are larger than any model's; it is refused.")
        return self._stream.read(size)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, unpacked: Path, limit: int) -> None:
    """Write one member under ``unpacked``."""
    if member.isdir() and _FOLDER.fullmatch(member.name):
        return
    place = _MEMBER.fullmatch(member.name)
    if not member.isreg() or member.issparse() or place is None:
        name = member.name[:200].encode("unicode_escape").decode()
        text = f"The archive's member {name!r} is not a plain file NAME/VERSION/FILE; nothing was imported."
        raise Refused("bad-model", text)
    folder = unpacked / place[1] / place[2]
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(unpacked.glob("*/*"))) > 1:
        raise Refused("bad-model", "The archive holds several model versions; an archive holds one.")
    sizes = [file.stat().st_size for file in folder.iterdir()]
    if len(sizes) >= registry.MAX_FILES:
        raise Refused("bad-model", f"The archive holds more than {registry.MAX_FILES} files; nothing was imported.")
    content = tar.extractfile(member)
    assert content is not None  # a regular file has content
    try:
        with new_file(folder / place[3]) as target:
            _copy(content, target, limit - sum(sizes))
    except FileExistsError:
        raise Refused("bad-model", f"The archive holds {member.name!r} twice; nothing was imported.") from None


def _copy(source: IO[bytes], target: IO[bytes], limit: int) -> None:
    while piece := source.read(MAX_READ):
        limit -= len(piece)
        if limit < 0:
            text = "The archive unpacks to more than models.import_max_bytes; nothing was imported."
            raise Refused("bad-model", text)
        target.write(piece)
