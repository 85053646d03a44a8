"""A model version as one file, out of a house and into another.

Out: a tar, gzipped where the name says so, the same bytes for the same version. In: the archive is unpacked beside its
place, every name, type and size checked on the way, every digest after it, and only then renamed into place. Until
that rename nothing of the house has changed; after it the version is there, but not in force.
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
from typing import BinaryIO

from models import registry
from models.durable import changing, sync, translated
from pipeline.errors import Refused
from pipeline.onnx import ModelFolder

#: A member's header may say that it is followed by this much of names and the like; ours need none.
MAX_READ = 1 << 20
ASIDE = ".import-"
_MEMBER = re.compile(
    r"(?:\./)?([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([A-Za-z0-9][A-Za-z0-9._-]{0,63})/([\w][\w.-]{0,99})", re.A
)
_FOLDER = re.compile(r"(?:\./)?[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,63})?/?|\./?")


def export_version(folder: ModelFolder, target: Path) -> None:
    """Write a verified version to ``target`` (.tar, .tar.gz or .tgz). Raises Refused("conflict") where that exists."""
    zipped = target.name.endswith((".tar.gz", ".tgz"))
    if not zipped and target.suffix != ".tar":
        raise Refused("bad-request", f"{target.name}: an export is a .tar, a .tar.gz or a .tgz.")
    with translated(target), tempfile.NamedTemporaryFile(dir=target.parent, prefix=".export-") as aside:
        with gzip.GzipFile("", "wb", fileobj=aside, mtime=0) if zipped else _kept(aside) as stream:
            _pack(folder, stream)
        aside.flush()
        os.fsync(aside.fileno())
        try:
            os.link(aside.name, target)  # unlike a rename this never replaces
        except FileExistsError:
            raise Refused("conflict", f"{target} is there already; choose another name.") from None
        sync(target.parent)


@contextmanager
def _kept(stream: BinaryIO) -> Iterator[BinaryIO]:
    yield stream


def _pack(folder: ModelFolder, stream: BinaryIO) -> None:
    inside = f"{folder.manifest.name}/{folder.manifest.version}"
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([registry.MANIFEST, *folder.manifest.files]):
            file = folder.path / name
            member = tarfile.TarInfo(f"{inside}/{name}")
            member.size, member.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                tar.addfile(member, content)


def import_version(root: Path, archive: Path, limit: int) -> ModelFolder:
    """Unpack an archive of one version under ``root``; returns the verified version.

    ``limit`` bounds the unpacked bytes. Raises Refused("bad-model") for what is no archive of a model version,
    Misconfigured("bad-model") for a version whose files are wrong, Refused("conflict") where another version of the
    same name is there already. Nothing is changed then.
    """
    with changing(root):
        for left in root.glob(f"{ASIDE}*"):  # of an import that was killed: nobody else holds the lock
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=root))
        try:
            unpacked = _unpack(archive, aside, limit)
            folder = registry.verify(unpacked)
            _check_name(folder, unpacked)
            return _install(root, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _check_name(folder: ModelFolder, unpacked: Path) -> None:
    title = f"{unpacked.parent.name}@{unpacked.name}"
    if folder.manifest.title != title:
        raise Refused("bad-model", f"The archive holds {title}, which says it is {folder.manifest.title}.")


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
    sync(place.parent)
    sync(root)
    return registry.verify(place)


def _unpack(archive: Path, aside: Path, limit: int) -> Path:
    """The version folder inside ``aside`` that the archive's members were written to."""
    unpacked = aside / "unpacked"
    try:
        with _plain(archive, aside / "archive.tar", limit) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                _write(tar, member, unpacked, limit)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile, UnicodeError, ValueError) as error:
        raise Refused("bad-model", f"{archive} is no tar of a model version ({type(error).__name__}).") from error
    for folder in unpacked.glob("*/*"):
        return folder  # `_write` sees to it that there is no other
    raise Refused("bad-model", f"{archive} holds no model version.")


@contextmanager
def _plain(archive: Path, copy: Path, limit: int) -> Iterator[BinaryIO]:
    """The archive without its gzip layer, unpacked to the disk piece by piece and never past the limit."""
    with archive.open("rb") as packed:
        if packed.read(2) == b"\x1f\x8b":
            packed.seek(0)
            with gzip.open(packed) as stream, copy.open("wb") as target:
                _copy(stream, target, limit)
            with copy.open("rb") as stream:
                yield _Bounded(stream)
            return
        packed.seek(0)
        yield _Bounded(packed)


class _Bounded:
    """A file whose single reads are small: a header that announces gigabytes of itself is refused, not fetched."""

    def __init__(self, stream: BinaryIO) -> None:
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
        shown = member.name[:200].encode("unicode_escape").decode()
        text = f"The archive's member {shown!r} is no plain file NAME/VERSION/FILE; nothing was imported."
        raise Refused("bad-model", text)
    folder = unpacked / place[1] / place[2]
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(unpacked.glob("*/*"))) > 1:
        raise Refused("bad-model", "The archive holds several model versions; an archive holds one.")
    written = [file.stat().st_size for file in folder.iterdir()]
    if len(written) >= registry.MAX_FILES:
        raise Refused("bad-model", f"The archive holds more than {registry.MAX_FILES} files; nothing was imported.")
    content = tar.extractfile(member)
    assert content is not None  # a regular file has content
    try:
        with (folder / place[3]).open("xb") as target:
            _copy(content, target, limit - sum(written))
            os.fsync(target.fileno())
    except FileExistsError:
        raise Refused("bad-model", f"The archive holds {member.name!r} twice; nothing was imported.") from None


def _copy(source: BinaryIO, target: BinaryIO, room: int) -> None:
    while piece := source.read(MAX_READ):
        room -= len(piece)
        if room < 0:
            text = "The archive unpacks to more than models.import_max_bytes; nothing was imported."
            raise Refused("bad-model", text)
        target.write(piece)
