"""Where indexes stand: generations in a folder, or a Milvus server. One index serves; others stand beside it, each known
by a path under ``root / "beside"``, which holds what there is to hold of it on this disk."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from indexes.milvus.reader import MilvusReader
from indexes.milvus.schema import DOCUMENTS, PASSAGES, drop, names
from indexes.milvus.server import Server
from indexes.milvus.state import changed_since, read_facts
from indexes.milvus.writer import MilvusWriter
from indexes.reader import IndexReader
from indexes.state import State, facts_of, look
from indexes.writer import IndexWriter
from pipeline.documents import EmbeddingModel
from pipeline.errors import MailroomError

Reader = IndexReader | MilvusReader
Writer = IndexWriter | MilvusWriter
#: The name of the index that serves.
SERVING = "serving"


def beside(root: Path, role: str) -> Path:
    return root / "beside" / role


class FolderIndexes:
    """FAISS and Tantivy. ``kind``: that of large segments, empty for the usual."""

    def __init__(self, root: Path, kind: str = "") -> None:
        self.root, self._kind = root, kind

    def reader(self, path: Path | None = None) -> IndexReader:
        """Of the index that serves, or of one beside it."""
        return IndexReader(path or self.root)

    def writer(self, model: EmbeddingModel, path: Path | None = None, compacting: bool = True) -> IndexWriter:
        """The same. Refused("conflict") where another process holds it."""
        given = (path or self.root, model.digest, model.dimension, model.model)
        return IndexWriter(*given, compacting=compacting, large=self._kind)

    def drop(self, path: Path) -> None:
        """Forget an index beside; nothing happens where there is none."""
        shutil.rmtree(path, ignore_errors=True)

    def look(self) -> State:
        """How it is, seen from outside."""
        return look(self.root)

    def facts(self) -> dict[str, Any]:
        """What there is to say of it, for people."""
        return facts_of(self.root)

    def counts(self) -> tuple[int, int]:
        """(documents, passages) that the index holds."""
        snapshot = self.reader().snapshot()
        return len(snapshot.numbers), len(snapshot.lexical)


class MilvusIndexes:
    """Collections of a Milvus server. ``root`` holds the writer's lock and the notes of what is being built."""

    def __init__(self, url: str, root: Path, kind: str = "") -> None:
        self.root, self._kind, self.server = root, kind, Server(url)

    def reader(self, path: Path | None = None) -> MilvusReader:
        return MilvusReader(self.server, _role(path))

    def writer(self, model: EmbeddingModel, path: Path | None = None, compacting: bool = True) -> MilvusWriter:
        """``compacting`` is the server's own affair."""
        given = (path or self.root, _role(path), model.digest, model.dimension, model.model)
        return MilvusWriter(self.server, *given, large=self._kind)

    def drop(self, path: Path) -> None:
        if path.exists():  # its notes are older than its collections, and go after them
            drop(self.server, _role(path))
            shutil.rmtree(path, ignore_errors=True)

    def look(self) -> State:
        try:
            version = self.server.call("get_server_version")
            facts = read_facts(self.server, names(SERVING)[DOCUMENTS])
        except MailroomError as error:
            return State("unavailable", error.detail)
        place = f"Milvus {version} at {self.server.address}, database {self.server.database}"
        return State("ok" if facts else "empty", f"{place}.")

    def facts(self) -> dict[str, Any]:
        state = self.look()
        if state.name != "ok":
            return {"state": state.text}
        snapshot = self.reader().snapshot()
        facts = {"generation": snapshot.generation, "model": snapshot.model, "documents": len(snapshot.numbers)}
        return {
            "state": state.text,
            **facts,
            "passages": len(snapshot.lexical),
            "without_vectors": snapshot.without_vectors,
        }

    def counts(self) -> tuple[int, int]:
        held = changed_since(self.server, names(SERVING)[DOCUMENTS], 0)
        given = {"output_fields": ["count(*)"], "consistency_level": "Strong"}
        rows = self.server.call("query", names(SERVING)[PASSAGES], **given)
        return sum(each.passages > 0 for each in held), rows[0]["count(*)"]


Indexes = FolderIndexes | MilvusIndexes


def _role(path: Path | None) -> str:
    return path.name if path else SERVING
