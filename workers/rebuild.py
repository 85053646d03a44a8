"""The index anew from the catalogue's texts and vectors, beside the one that serves, and adopted when it is whole.

Every `CHECKPOINT` passages are published in a folder of their own: a rebuild that was killed goes on from there. What
the catalogue finishes meanwhile is added after the adoption, by the writer.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from indexes.vectors.kinds import EXACT_ROWS
from indexes.writer import IndexWriter
from pipeline.faults import fault
from pipeline.ports import Passages

CHECKPOINT = EXACT_ROWS


def folder_of(root: Path) -> Path:
    """Where the rebuild of an index stands; it exists while one is under way."""
    return root / "beside" / "rebuild"


class Rebuild:
    """`advance` until it is True. ``done``: documents so far, those of an earlier attempt included."""

    def __init__(self, passages: Passages, main: IndexWriter) -> None:
        self._main, self._root = main, folder_of(main.root)
        self._began = self._begun()
        self._side = IndexWriter(
            self._root, main.embedder, main.dimension, main.model, compacting=False, large=main.large
        )
        held = self._side.numbers
        self.done = len(held)
        self._source = passages.scan(main.embedder, int(held.array[-1]) if self.done else 0)
        self._scanned, self._rows = False, 0

    def _begun(self) -> float:
        """When this rebuild was begun, by whichever process. One of another model is thrown away."""
        note = self._root / "begun.json"
        try:
            values = json.loads(note.read_text())
            if values["embedder"] == self._main.embedder:
                return float(values["at"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True)
        now = time.time()
        note.write_text(json.dumps({"embedder": self._main.embedder, "at": now}))
        return now

    def advance(self, seconds: float | None = None) -> bool:
        """Work for about so long (None: to the end); True once the new index is the current one."""
        until = time.monotonic() + seconds if seconds is not None else float("inf")
        if not self._scanned and not self._scan(until):
            return False
        if seconds is None:
            self._side.await_compaction()
        if self._side.is_compacting:
            return False
        self._side.publish(anyway=True)
        self._side.close()
        self._main.adopt(self._root, self._began)
        shutil.rmtree(self._root, ignore_errors=True)
        return True

    def _scan(self, until: float) -> bool:
        for document, chunks, vectors in self._source:
            self._side.add(document.number, chunks, vectors, document.title, document.name)
            self.done, self._rows = self.done + 1, self._rows + len(chunks)
            if self._rows >= CHECKPOINT:
                self._side.publish()
                self._rows = 0
                fault("rebuild.checkpoint")
            if time.monotonic() > until:
                return False
        self._side.publish()
        self._side.compact()
        self._scanned = True
        return True

    def close(self) -> None:
        """Leave it as it is, to be gone on with."""
        self._side.close()
