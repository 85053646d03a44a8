"""Opens a backend by its URL, and imports it only then: the one place that knows which schemes there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import Misconfigured
from pipeline.ports import Blobs

if TYPE_CHECKING:  # SQLAlchemy, FAISS, Tantivy and Milvus's client are imported when one is opened
    from indexes.catalogue.catalogue import Catalogue
    from indexes.places import Indexes


def open_catalogue(url: str) -> Catalogue:
    """Open the catalogue at ``sqlite:///PATH`` or ``postgresql://...``; "memory:" is a SQLite of this process alone,
    for tests. Raises Misconfigured: "bad-settings" for another scheme, "bad-store" if it cannot be used."""
    from indexes.catalogue.catalogue import Catalogue

    if url == "memory:":
        return Catalogue("sqlite://")
    if not url.startswith(("sqlite:///", "postgresql:", "postgresql+psycopg:")):
        raise Misconfigured("bad-settings", f"catalogue.url {url!r}: use sqlite:///PATH or postgresql://...")
    return Catalogue(url)


def open_blobs(url: str) -> Blobs:
    """Open the blobs at ``folder:PATH``. Raises Misconfigured: "bad-settings" for another scheme, "bad-store" if the
    folder cannot be used."""
    from indexes.blobs.folder import FolderBlobs

    scheme, _, path = url.partition(":")
    if scheme != "folder" or not path:
        raise Misconfigured("bad-settings", f"blobs.url {url!r}: use folder:PATH")
    return FolderBlobs(Path(path))


def open_indexes(url: str, folder: Path, kind: str = "") -> Indexes:
    """Open the indexes at ``milvus+http://HOST:PORT/DATABASE``, or for an empty URL FAISS and Tantivy in ``folder``.
    ``kind`` is that of large vector segments, as the setting `index.kind`."""
    from indexes.places import FolderIndexes, MilvusIndexes

    if not url:
        return FolderIndexes(folder, kind)
    return MilvusIndexes(url, folder / "milvus", kind)
