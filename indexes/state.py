"""The state of the index folder, for health, the doctor and `index status`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes import generations as gen
from pipeline.errors import Misconfigured

#: With fewer free bytes the next generation may not fit on the disk.
MIN_FREE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class IndexState:
    """``name`` is ok, empty, missing, damaged, read-only or full, or unavailable for a server. ``detail`` says what to
    do; empty if all is well."""

    name: str
    detail: str = ""

    @property
    def text(self) -> str:
        """The state in one line."""
        return f"{self.name}: {self.detail}" if self.detail else self.name


def folder_state(root: Path) -> IndexState:
    """Return the state of the index in ``root``. No digest of a file is computed: only CURRENT and the manifest are
    checked."""
    if not root.is_dir():
        return IndexState("missing", f"There is no folder {root}. The writer builds the index anew from the catalogue.")
    try:
        pointer = gen.read_pointer(root)
        if pointer is not None:
            gen.read_manifest(root / "generations" / pointer.name, pointer.digest)
        elif gen.generations(root):
            return IndexState("damaged", "CURRENT is gone; the writer restores it.")
        free = os.statvfs(root)
    except (Misconfigured, OSError) as error:
        detail = f"{error} The writer continues from an older generation, or builds the index anew."
        return IndexState("damaged", detail)
    if not os.access(root, os.W_OK | os.X_OK) or free.f_flag & os.ST_RDONLY:
        return IndexState("read-only", f"{root} cannot be written: search works, and nothing new becomes searchable.")
    if free.f_bavail * free.f_frsize < MIN_FREE_BYTES:
        return IndexState("full", f"The disk of {root} is full: search works, and nothing new becomes searchable.")
    return IndexState("ok" if pointer else "empty")


def describe_folder(root: Path) -> dict[str, Any]:
    """Return what `index status` prints of the index in ``root``: its state, and the numbers and the segments of the
    current generation."""
    values: dict[str, Any] = {"folder": str(root), "state": folder_state(root).text}
    try:
        folder = gen.current(root)
        manifest = gen.read_manifest(folder) if folder else None
    except Misconfigured as error:
        return {**values, "problem": error.detail}
    if manifest is None:
        return values
    return {
        **values,
        "generation": manifest.generation,
        "model": manifest.model,
        "documents": manifest.documents,
        "passages": manifest.chunks,
        "without_vectors": len(manifest.without_vectors),
        "bytes": sum(size for _, size in manifest.files.values()),
        "segments": [{"kind": s.kind, "rows": s.count, "dropped": len(s.dropped)} for s in manifest.segments],
    }
