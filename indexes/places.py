"""Where indexes are stored: generations in a folder, or collections of a Milvus server.

One index serves; candidate indexes are built next to it. A candidate is known by the path that `index_folder` returns;
the folder there holds the part of it that is stored on this disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol

from indexes.milvus.reader import MilvusReader
from indexes.milvus.schema import CHUNKS, DOCUMENTS, drop, names
from indexes.milvus.server import Server
from indexes.milvus.state import changed_since, read_status
from indexes.milvus.writer import MilvusWriter
from indexes.reader import FolderReader
from indexes.state import IndexState, describe_folder, folder_state
from indexes.writer import FolderWriter
from pipeline.documents import EmbeddingModel
from pipeline.errors import MailroomError
from pipeline.ports import IndexReader, IndexWriter

#: The name of the index that serves.
SERVING = "serving"


def index_folder(root: Path, role: str) -> Path:
    """Return the path by which a candidate index of the installation's ``root`` is known."""
    return root / "candidates" / role


class Indexes(Protocol):
    """The index that serves and the candidates next to it. A ``path`` of None stands for the one that serves."""

    root: Path

    def reader(self, path: Path | None = None) -> IndexReader:
        """Open an index for searching."""

    def writer(self, model: EmbeddingModel, path: Path | None = None, compacting: bool = True) -> IndexWriter:
        """Open an index for writing; without ``compacting`` segments are merged only on request.

        Raises Refused("conflict") where another process has it open for writing.
        """

    def drop(self, path: Path) -> None:
        """Delete a candidate index. Idempotent."""

    def state(self) -> IndexState:
        """Return the state of the index that serves, as health and the doctor report it."""

    def describe(self) -> dict[str, Any]:
        """Return what `mailroom index status` prints of the index that serves."""

    def counts(self) -> tuple[int, int]:
        """Count the documents and the chunks that the serving index stores."""


class FolderIndexes:
    """Implements `Indexes` with FAISS and Tantivy. ``kind``: of large segments, as the setting `index.kind`."""

    def __init__(self, root: Path, kind: str = "") -> None:
        self.root, self._kind = root, kind

    def reader(self, path: Path | None = None) -> FolderReader:
        """Open an index for searching."""
        return FolderReader(path or self.root)

    def writer(self, model: EmbeddingModel, path: Path | None = None, compacting: bool = True) -> FolderWriter:
        """Open an index for writing. Raises Refused("conflict") where another process has it open."""
        arguments = (path or self.root, model.digest, model.dimension, model.model)
        return FolderWriter(*arguments, compacting=compacting, large=self._kind)

    def drop(self, path: Path) -> None:
        """Delete a candidate index. Idempotent."""
        shutil.rmtree(path, ignore_errors=True)

    def state(self) -> IndexState:
        """Return the state of the folder of the index that serves."""
        return folder_state(self.root)

    def describe(self) -> dict[str, Any]:
        """Return the current generation's numbers and its segments."""
        return describe_folder(self.root)

    def counts(self) -> tuple[int, int]:
        """Count the documents and the chunks that the serving index stores."""
        snapshot = self.reader().snapshot()
        return len(snapshot.numbers), len(snapshot.lexical)


class MilvusIndexes:
    """Implements `Indexes` with collections of a Milvus server.

    ``root`` holds the writer's lock and the markers of candidate indexes. ``kind``: as the setting `index.kind`.
    """

    def __init__(self, url: str, root: Path, kind: str = "") -> None:
        self.root, self._kind, self.server = root, kind, Server(url)

    def reader(self, path: Path | None = None) -> MilvusReader:
        """Open an index for searching."""
        return MilvusReader(self.server, _role(path))

    def writer(self, model: EmbeddingModel, path: Path | None = None, compacting: bool = True) -> MilvusWriter:
        """Open an index for writing; the server decides about merging, whatever ``compacting`` says."""
        arguments = (path or self.root, _role(path), model.digest, model.dimension, model.model)
        return MilvusWriter(self.server, *arguments, large=self._kind)

    def drop(self, path: Path) -> None:
        """Delete a candidate index. Idempotent."""
        if path.exists():  # its marker is older than its collections, and goes after them
            drop(self.server, _role(path))
            shutil.rmtree(path, ignore_errors=True)

    def state(self) -> IndexState:
        """Return whether the server answers, and whether it holds a published index."""
        try:
            version = self.server.call("get_server_version")
            status = read_status(self.server, names(SERVING)[DOCUMENTS])
        except MailroomError as error:
            return IndexState("unavailable", error.detail)
        place = f"Milvus {version} at {self.server.address}, database {self.server.database}"
        return IndexState("ok" if status else "empty", f"{place}.")

    def describe(self) -> dict[str, Any]:
        """Return the state of the serving index and the numbers of its publication."""
        state = self.state()
        if state.name != "ok":
            return {"state": state.text}
        snapshot = self.reader().snapshot()
        return {
            "state": state.text,
            "generation": snapshot.generation,
            "model": snapshot.model,
            "documents": len(snapshot.numbers),
            "passages": len(snapshot.lexical),
            "without_vectors": snapshot.without_vectors,
        }

    def counts(self) -> tuple[int, int]:
        """Count the documents and the chunks that the serving index stores, by asking the server for every one."""
        documents = changed_since(self.server, names(SERVING)[DOCUMENTS], 0)
        options = {"output_fields": ["count(*)"], "consistency_level": "Strong"}
        rows = self.server.call("query", names(SERVING)[CHUNKS], **options)
        return sum(document.chunks > 0 for document in documents), rows[0]["count(*)"]


def _role(path: Path | None) -> str:
    return path.name if path else SERVING
