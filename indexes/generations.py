"""Generations: immutable index directories under a manifest with digests, published by one atomic rename.

    INDEX/CURRENT                       the name of the generation that readers open, and its manifest's digest
    INDEX/generations/000000000042/
        manifest.json                   every file with its SHA-256; segments; embedder; counts
        vectors/NAME.*                  hard links where the previous generation has them
        lexical/...                     Tantivy's immutable files, hard-linked from the writer's working copy

Nothing here is ever served before its digest was verified. Every file is durable before the name that makes it visible.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from indexes.integrity import VerifiedFiles
from pipeline.disk import new_file, sync_folder, write_durably
from pipeline.errors import Misconfigured
from pipeline.faults import fault

#: Published generations that are kept, the current one included.
KEPT = 3


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment in a manifest. ``kind``: as in `indexes.vectors.kinds`; ``dropped``: documents not valid in it."""

    name: str
    count: int
    kind: str
    dropped: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation consists of.

    ``chunks`` and ``documents`` count what is searchable; ``embedder``: digest of the model of the vectors, ``model``
    its name in the registry; ``files``: relative path -> (SHA-256, size); ``without_vectors``: documents that the
    model has not embedded, which search finds by words alone.
    """

    generation: str
    created_at: float
    embedder: str
    dimension: int
    chunks: int
    documents: int
    segments: tuple[SegmentEntry, ...] = ()
    files: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    model: str = ""
    without_vectors: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pointer:
    """The content of CURRENT: a generation, and the digest that its manifest must have."""

    name: str
    digest: str

    @property
    def text(self) -> str:
        """The pointer as CURRENT holds it."""
        return f"{self.name} {self.digest}\n"


def generations(root: Path) -> list[Path]:
    """Return the folders of the complete generations, oldest first."""
    folder = root / "generations"
    return sorted(path for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def current(root: Path) -> Path | None:
    """Return the folder of the published generation, or None before the first.

    Raises Misconfigured("bad-index") for an unusable CURRENT, OSError.
    """
    pointer = read_pointer(root)
    return root / "generations" / pointer.name if pointer else None


def read_pointer(root: Path) -> Pointer | None:
    """Read CURRENT; None before the first publication. Raises Misconfigured("bad-index") if unusable, OSError."""
    try:
        text = (root / "CURRENT").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    name, _, digest = text.strip().partition(" ")
    if not (name.isascii() and name.isdigit() and len(digest) == 64):
        raise Misconfigured("bad-index", "CURRENT does not name a generation; the writer puts it right.")
    return Pointer(name, digest)


def read_manifest(folder: Path, expected: str | None = None) -> Manifest:
    """Read the manifest of a generation. ``expected``: its digest in CURRENT. Raises Misconfigured("bad-index")."""
    try:
        values = json.loads((folder / "manifest.json").read_text())
        digest = values.pop("digest")
        if digest != _digest_of(values) or expected not in (None, digest):
            raise ValueError("its digest is wrong")
        values["segments"] = tuple(SegmentEntry(**{**s, "dropped": tuple(s["dropped"])}) for s in values["segments"])
        values["files"] = {path: (sha, size) for path, (sha, size) in values["files"].items()}
        values["without_vectors"] = tuple(values["without_vectors"])
        return Manifest(**values)
    except FileNotFoundError as error:
        raise Misconfigured("bad-index", f"Generation {folder.name} has no manifest.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Misconfigured("bad-index", f"The manifest of generation {folder.name} is unusable: {error}.") from error


def newest_usable(root: Path, verified: VerifiedFiles) -> tuple[Path, Manifest] | None:
    """Return the newest generation without an altered file, with its manifest: for when CURRENT cannot be used."""
    for folder in reversed(generations(root)):
        try:
            manifest = read_manifest(folder)
            verified.verify(folder, manifest.files)
        except (Misconfigured, OSError):
            continue
        return folder, manifest
    return None


def publish(root: Path, staging: Path, manifest: Manifest) -> Path:
    """Write the manifest, make everything durable, rename the folder into place, then point CURRENT at it.

    Returns the generation's folder. Raises OSError.
    """
    values = asdict(manifest)
    digest = _digest_of(values)
    with new_file(staging / "manifest.json") as file:
        file.write(json.dumps({**values, "digest": digest}, indent=1).encode())
    for folder in (staging / "vectors", staging / "lexical", staging):
        sync_folder(folder)
    fault("generation.staged")
    final = root / "generations" / manifest.generation
    staging.rename(final)
    sync_folder(final.parent)
    fault("generation.renamed")
    write_durably(root / "CURRENT", Pointer(manifest.generation, digest).text.encode())
    return final


def link_current(origin: Path, target: Path, verified: VerifiedFiles, created_at: float | None = None) -> Manifest:
    """Publish one folder's current generation, verified, as the next one of another folder on the same disk, by links.

    ``created_at``: the time to give it, None for its own. Raises Misconfigured("bad-index"), OSError.
    """
    folder = current(origin)
    if folder is None:
        raise Misconfigured("bad-index", f"There is no generation in {origin}.")
    manifest = read_manifest(folder)
    verified.verify(folder, manifest.files)
    staging = fresh_staging(target)
    for path in manifest.files:
        (staging / path).hardlink_to(folder / path)
    since = manifest.created_at if created_at is None else created_at
    publish(target, staging, replace(manifest, generation=next_name(target), created_at=since))
    prune(target)
    return manifest


def prune(root: Path, count: int = KEPT) -> None:
    """Remove all but the newest ``count`` generations. A reader that has a removed one open keeps its files."""
    for old in generations(root)[:-count]:
        shutil.rmtree(old, ignore_errors=True)


def next_name(root: Path) -> str:
    """Return the name of the next generation: twelve digits, one above the highest."""
    return f"{max((int(path.name) for path in generations(root)), default=0) + 1:012d}"


def fresh_staging(root: Path) -> Path:
    """Create an empty folder for the next generation; what a crash left in it is removed."""
    staging = root / "generations" / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "vectors").mkdir(parents=True)
    (staging / "lexical").mkdir()
    return staging


def _digest_of(values: Mapping[str, object]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
