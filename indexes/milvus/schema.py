"""The three collections of one index: chunks, the words in them, and the documents with the index's status.

The status is JSON in the row of document 0, a number that no document has.
"""

from __future__ import annotations

from typing import Any

from indexes.milvus.server import Server

CHUNKS, WORDS, DOCUMENTS = PARTS = ("chunks", "words", "documents")
#: Fields whose words are ranked by the server's BM25, and those that are only matched.
RANKED, MATCHED = ("text", "code"), ("title", "name", "figures")
#: Bytes of a text field.
MAX_BYTES = 65_535
#: Robertson and Zaragoza (2009), as in the other backends.
BM25 = {"bm25_k1": 1.2, "bm25_b": 0.75}
ANALYSER = {"tokenizer": "standard"}  # texts come as tokens already: it only separates them at the spaces


def names(role: str) -> dict[str, str]:
    """Return the collection names of an index by part: `CHUNKS`, `WORDS`, `DOCUMENTS`."""
    return {part: f"mailroom_{role.replace('-', '_')}_{part}" for part in PARTS}


def create(server: Server, role: str, dimension: int, kind: str) -> None:
    """Create the collections that are missing. ``kind``: Milvus's index type of the vectors."""
    for part, name in names(role).items():
        if not server.call("has_collection", name):
            schema, index = {CHUNKS: _chunks, WORDS: _words, DOCUMENTS: _documents}[part](dimension, kind)
            server.call("create_collection", name, schema=schema, index_params=index)


def drop(server: Server, role: str) -> None:
    """Drop the collections, that of the status first: a half-dropped index has none, and is not used."""
    for name in reversed(list(names(role).values())):
        server.call("drop_collection", name)


def rename(server: Server, role: str, new_role: str) -> None:
    """Rename an index's collections; an index that has the new name already is dropped."""
    drop(server, new_role)
    for part, name in names(role).items():
        server.call("rename_collection", name, names(new_role)[part])
        server.call("load_collection", names(new_role)[part])  # milvus-lite unloads a renamed one


def _chunks(dimension: int, kind: str) -> tuple[Any, Any]:
    from pymilvus import DataType, Function, FunctionType

    schema, index = _empty()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("document", DataType.INT64)
    schema.add_field("embedded", DataType.BOOL)  # without: all zeros stand for the vector
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for field in (*RANKED, *MATCHED):
        options = {"enable_analyzer": True, "enable_match": True, "analyzer_params": ANALYSER}
        schema.add_field(field, DataType.VARCHAR, max_length=MAX_BYTES, **options)
    index.add_index("vector", index_type=kind, metric_type="IP")
    index.add_index("document", index_type="INVERTED")
    for field in RANKED:
        scores = f"{field}_bm25"
        schema.add_field(scores, DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(Function(scores, FunctionType.BM25, [field], [scores]))
        index.add_index(scores, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25", params=BM25)
    return schema, index


def _words(dimension: int, kind: str) -> tuple[Any, Any]:
    from pymilvus import DataType

    schema, index = _empty()
    schema.add_field("word", DataType.VARCHAR, max_length=1000, is_primary=True)
    schema.add_field("letters", DataType.INT64)
    schema.add_field("pairs", DataType.SPARSE_FLOAT_VECTOR)
    index.add_index("pairs", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
    return schema, index


def _documents(dimension: int, kind: str) -> tuple[Any, Any]:
    from pymilvus import DataType

    schema, index = _empty()
    schema.add_field("number", DataType.INT64, is_primary=True)
    schema.add_field("serial", DataType.INT64)  # of the publication that changed it
    schema.add_field("chunks", DataType.INT64)  # 0: removed
    schema.add_field("embedded", DataType.BOOL)
    schema.add_field("status", DataType.VARCHAR, max_length=4096)
    schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)  # every collection must have a vector
    index.add_index("unused", index_type="FLAT", metric_type="L2")
    return schema, index


def _empty() -> tuple[Any, Any]:
    from pymilvus import MilvusClient
    from pymilvus.milvus_client.index import IndexParams

    return MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False), IndexParams()
