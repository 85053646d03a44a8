"""URL -> backend, imported lazily. The one place that knows which schemes there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import Misconfigured

if TYPE_CHECKING:  # FAISS, Tantivy and Milvus's client are imported by who opens one
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes
    from pipeline.ports import Blobs


def open_catalogue(url: str) -> Catalogue:
    """``sqlite:///PATH``, ``postgresql://...``; "memory:" is a SQLite of this process alone, for tests."""
    from indexes.catalogue.catalogue import Catalogue

    if url == "memory:":
        url = "sqlite://"
    elif not url.startswith(("sqlite:///", "postgresql:", "postgresql+psycopg:")):
        raise Misconfigured("bad-settings", f"catalogue.url {url!r}: give sqlite:///PATH or postgresql://...")
    return Catalogue(url)


def open_blobs(url: str) -> Blobs:
    """``folder:PATH`` or "memory:"."""
    if url == "memory:":
        from indexes.blobs.memory import MemoryBlobs

        return MemoryBlobs()
    scheme, _, path = url.partition(":")
    if scheme != "folder" or not path:
        raise Misconfigured("bad-settings", f"blobs.url {url!r}: give folder:PATH")
    from indexes.blobs.folder import FolderBlobs

    return FolderBlobs(Path(path))


def open_indexes(url: str, folder: Path, kind: str = "") -> Indexes:
    """Empty: FAISS and Tantivy in ``folder``; ``milvus+http://HOST:PORT/DATABASE``: there. ``kind``: as `index.kind`."""
    from indexes.places import FolderIndexes, MilvusIndexes

    if not url:
        return FolderIndexes(folder, kind)
    return MilvusIndexes(url, folder / "milvus", kind)
