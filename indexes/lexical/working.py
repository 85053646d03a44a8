"""Tantivy's working copy: the folder that its writer changes, and hard links of one commit for a generation."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from indexes.lexical import tantivy as lexical
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured

HEAP_BYTES = 64_000_000
#: Tantivy's own lists of files; all its other files are never changed once written.
LISTS = ("meta.json", ".managed.json")


class WorkingCopy:
    """Made anew from a verified generation (or empty), so that whatever a crash left in it is never used."""

    def __init__(self, root: Path, origin: Path | None) -> None:
        remove_old(root)
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=root))
        for file in origin.iterdir() if origin else ():
            if file.name in LISTS:
                shutil.copy2(file, self.folder / file.name)
            elif not file.name.endswith(".lock"):
                (self.folder / file.name).hardlink_to(file)
        self._writer = lexical.open_index(self.folder).writer(HEAP_BYTES, 1)

    def add(self, number: int, chunks: Sequence[Chunk], title: str | None, name: str) -> None:
        """Add the document's passages, or replace them."""
        lexical.add_document(self._writer, number, chunks, title, name)

    def remove(self, number: int) -> None:
        lexical.remove_document(self._writer, number)

    def commit(self) -> None:
        self._writer.commit()

    def link(self, folder: Path) -> None:
        """Link the files of one commit into ``folder``. Tantivy merges in the background: a file that has gone means that
        there is a newer commit, whose list is then taken."""
        for _ in range(20):
            meta = (self.folder / "meta.json").read_text()
            live = {segment["segment_id"].replace("-", "") for segment in json.loads(meta)["segments"]}
            try:
                for file in [p for p in self.folder.iterdir() if p.name.split(".")[0] in live]:
                    (folder / file.name).hardlink_to(file)
            except FileNotFoundError:
                shutil.rmtree(folder)
                folder.mkdir()
                continue
            (folder / "meta.json").write_text(meta)
            managed = sorted([*(p.name for p in folder.iterdir()), "meta.json"])
            (folder / ".managed.json").write_text(json.dumps(managed))
            return
        raise Misconfigured("bad-index", "The lexical index changes faster than it can be copied.")

    def close(self) -> None:
        self._writer = None  # lets go of Tantivy's lock
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_old(root: Path) -> None:
    """What an earlier process left."""
    for old in root.glob("work-*"):
        shutil.rmtree(old, ignore_errors=True)
