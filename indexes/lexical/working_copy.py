"""Tantivy's working copy: the folder that its writer changes, and hard links of one commit for a generation."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexes.lexical import tantivy as lexical
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured

HEAP_BYTES = 64_000_000
#: Tantivy's own lists of files; it never changes any other file once written.
LISTS = ("meta.json", ".managed.json")
#: Attempts to link one commit while Tantivy merges.
MAX_ATTEMPTS = 20


class WorkingCopy:
    """Created anew from a verified generation (or empty), so that whatever a crash left in an old one is never used."""

    def __init__(self, root: Path, origin: Path | None) -> None:
        for old in root.glob("work-*"):  # of an earlier process
            shutil.rmtree(old, ignore_errors=True)
        self.folder = Path(tempfile.mkdtemp(prefix="work-", dir=root))
        for file in origin.iterdir() if origin else ():
            if file.name in LISTS:
                shutil.copy2(file, self.folder / file.name)
            elif not file.name.endswith(".lock"):
                (self.folder / file.name).hardlink_to(file)
        self._writer = lexical.open_index(self.folder).writer(HEAP_BYTES, 1)

    def add(self, number: int, chunks: Sequence[Chunk], title: str | None, name: str) -> None:
        """Add or replace the document's chunks."""
        lexical.add_document(self._writer, number, chunks, title, name)

    def remove(self, number: int) -> None:
        """Remove the document's chunks. Idempotent."""
        lexical.remove_document(self._writer, number)

    def commit(self) -> None:
        """Write the changes to the folder."""
        self._writer.commit()

    def link(self, folder: Path) -> None:
        """Link the files of one commit into ``folder``.

        Tantivy merges in the background: a missing file means that there is a newer commit, whose list is then used.
        Raises Misconfigured("bad-index") when it changes too often.
        """
        for _ in range(MAX_ATTEMPTS):
            meta = (self.folder / "meta.json").read_text()
            live = {segment["segment_id"].replace("-", "") for segment in json.loads(meta)["segments"]}
            try:
                for file in [path for path in self.folder.iterdir() if path.name.split(".")[0] in live]:
                    (folder / file.name).hardlink_to(file)
            except FileNotFoundError:
                shutil.rmtree(folder)
                folder.mkdir()
                continue
            (folder / "meta.json").write_text(meta)
            managed = sorted([*(path.name for path in folder.iterdir()), "meta.json"])
            (folder / ".managed.json").write_text(json.dumps(managed))
            return
        raise Misconfigured("bad-index", "The lexical index changes faster than it can be copied.")

    def collect_garbage(self) -> None:
        """Delete the files of segments that are merged or empty."""
        self._writer.garbage_collect_files()

    def close(self) -> None:
        """Delete the folder."""
        del self._writer  # which releases Tantivy's lock
        shutil.rmtree(self.folder, ignore_errors=True)


def has_removed(folder: Path) -> bool:
    """Return True if segments of a commit hold words of documents that were removed from them."""
    return bool(_with_removed(folder))


def beside_removed(folder: Path, limit: int) -> list[int]:
    """Return documents of a commit that share a segment with a removed one, of about ``limit`` chunks.

    Once all of them are written again their segment is empty, and Tantivy drops it. ``folder`` must not change.
    """
    if not (segments := _with_removed(folder)):
        return []
    meta = json.loads((folder / "meta.json").read_text())
    with tempfile.TemporaryDirectory(prefix="mailroom-index-") as part:
        for file in folder.iterdir():
            if file.name not in LISTS and not file.name.endswith(".lock"):
                (Path(part) / file.name).symlink_to(file.absolute())
        (Path(part) / "meta.json").write_text(json.dumps({**meta, "segments": segments[:1]}))
        return lexical.some_documents(lexical.open_index(Path(part)), limit)


def _with_removed(folder: Path) -> list[dict[str, Any]]:
    segments = json.loads((folder / "meta.json").read_text())["segments"]
    return [segment for segment in segments if (segment["deletes"] or {}).get("num_deleted_docs")]
