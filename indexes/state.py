"""How the index's folder is, seen from outside: for health, the doctor and the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes import generations as gen
from pipeline.errors import Misconfigured

#: Free bytes under which the next generation may find no place.
LITTLE = 64 << 20


@dataclass(frozen=True, slots=True)
class State:
    """``name``: ok, empty, missing, damaged, read-only or full; unavailable where it is a server. ``detail`` says what to do; empty when all is well."""

    name: str
    detail: str = ""

    @property
    def text(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


def look(root: Path) -> State:
    """Cheap: no file's digest is computed, only what CURRENT and the manifest say of themselves."""
    if not root.is_dir():
        return State("missing", f"There is no folder {root}. The writer makes the index anew from the catalogue.")
    try:
        pointer = gen.read_pointer(root)
        if pointer is not None:
            gen.read_manifest(root / "generations" / pointer.name, pointer.digest)
        elif gen.generations(root):
            return State("damaged", "CURRENT is gone; the writer puts it right.")
        free = os.statvfs(root)
    except (Misconfigured, OSError) as error:
        return State("damaged", f"{error} The writer goes on from an older generation, or makes the index anew.")
    if not os.access(root, os.W_OK | os.X_OK) or free.f_flag & os.ST_RDONLY:
        return State("read-only", f"{root} cannot be written: search goes on, and nothing new becomes searchable.")
    if free.f_bavail * free.f_frsize < LITTLE:
        return State("full", f"The disk of {root} is full: search goes on, and nothing new becomes searchable.")
    return State("ok" if pointer else "empty")


def facts_of(root: Path) -> dict[str, Any]:
    """The current generation in figures, and its segments."""
    facts: dict[str, Any] = {"folder": str(root), "state": look(root).text}
    try:
        folder = gen.current(root)
        manifest = gen.read_manifest(folder) if folder else None
    except Misconfigured as error:
        return {**facts, "problem": error.detail}
    if manifest is None:
        return facts
    return {
        **facts,
        "generation": manifest.generation,
        "model": manifest.model,
        "documents": manifest.documents,
        "passages": manifest.chunks,
        "without_vectors": len(manifest.without_vectors),
        "bytes": sum(size for _, size in manifest.files.values()),
        "segments": [{"kind": s.kind, "rows": s.count, "dropped": len(s.dropped)} for s in manifest.segments],
    }
