"""Which documents an index holds, and the status of its last publication."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from indexes.milvus.server import PAGE, Server


@dataclass(frozen=True, slots=True)
class Status:
    """The last publication of an index, stored with it.

    ``serial`` counts publications; ``embedder``: digest of the model of its vectors, ``model`` its name; ``since``:
    what the catalogue finished after this time (epoch seconds) may be missing; ``identity`` distinguishes this index
    from an earlier or later one of the same name; ``languages``: those of its chunks.
    """

    serial: int
    embedder: str
    dimension: int
    model: str
    since: float
    identity: str
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """One document of an index. ``chunks`` is 0 for one that was removed; ``embedded``: its chunks have vectors."""

    number: int
    chunks: int
    embedded: bool = True


def read_status(server: Server, collection: str) -> Status | None:
    """Read the status from a collection of documents; None before the first publication."""
    if not server.call("has_collection", collection):
        return None
    rows = server.call("get", collection, ids=[0], output_fields=["status"], consistency_level="Strong")
    if not rows:
        return None
    values = json.loads(rows[0]["status"])
    return Status(**{**values, "languages": tuple(values["languages"])})


def announce(server: Server, collection: str, serial: int, before: Mapping[int, StoredDocument]) -> None:
    """Record which documents the coming publication will change, as they are ``before`` it.

    If the publication ends half-way, the next writer finds them as changed after the last complete one.
    """
    _upsert(server, collection, [_row(document, serial) for document in before.values()])


def write(server: Server, collection: str, status: Status, changed: Mapping[int, StoredDocument]) -> None:
    """Complete a publication: the documents first, then the status, with which readers see it."""
    _upsert(server, collection, [_row(document, status.serial) for document in changed.values()])
    row = {**_row(StoredDocument(0, 0), status.serial), "status": json.dumps(asdict(status))}
    server.call("upsert", collection, [row])


def _upsert(server: Server, collection: str, rows: Sequence[Mapping[str, object]]) -> None:
    for start in range(0, len(rows), PAGE):
        server.call("upsert", collection, rows[start : start + PAGE])


def _row(document: StoredDocument, serial: int) -> dict[str, object]:
    return {
        "number": document.number,
        "serial": serial,
        "chunks": document.chunks,
        "embedded": document.embedded,
        "status": "",
        "unused": [0.0, 0.0],
    }


def changed_since(server: Server, collection: str, serial: int) -> Iterator[StoredDocument]:
    """Iterate over the documents that publications after ``serial`` changed, removed ones included."""
    for row in server.rows(collection, f"number > 0 and serial > {serial}", ["number", "chunks", "embedded"]):
        yield StoredDocument(row["number"], row["chunks"], row["embedded"])
