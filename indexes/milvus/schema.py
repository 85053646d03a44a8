"""The three collections of one index: passages, the words in them, and the documents with the index's state.

The state is the row of document 0, which no document has: JSON in ``facts``.
"""

from __future__ import annotations

from typing import Any

from indexes.milvus.server import Server

PASSAGES, WORDS, DOCUMENTS = PARTS = ("passages", "words", "documents")
#: Fields whose words are ranked by the server's BM25, and those that are only matched.
RANKED, MATCHED = ("text", "code"), ("title", "name", "figures")
#: Bytes of a text field.
MOST_BYTES = 65_535
#: Robertson and Zaragoza (2009), as the other backends.
BM25 = {"bm25_k1": 1.2, "bm25_b": 0.75}
ANALYSER = {"tokenizer": "standard"}  # texts come as terms already: it only parts them at the blanks


def names(role: str) -> dict[str, str]:
    """Collection names by part."""
    return {part: f"mailroom_{role.replace('-', '_')}_{part}" for part in PARTS}


def create(server: Server, role: str, dimension: int, kind: str) -> None:
    """Make the collections that are not there. ``kind``: Milvus's index type of the vectors."""
    for part, name in names(role).items():
        if not server.call("has_collection", name):
            schema, index = {PASSAGES: _passages, WORDS: _words, DOCUMENTS: _documents}[part](dimension, kind)
            server.call("create_collection", name, schema=schema, index_params=index)


def drop(server: Server, role: str) -> None:
    """The state first: a half-dropped index has none, and is not taken for one."""
    for name in reversed(list(names(role).values())):
        server.call("drop_collection", name)


def rename(server: Server, role: str, to: str) -> None:
    """One index in another's place, whose own is dropped."""
    drop(server, to)
    for part, name in names(role).items():
        server.call("rename_collection", name, names(to)[part])
        server.call("load_collection", names(to)[part])  # milvus-lite lets go of a renamed one


def _passages(dimension: int, kind: str) -> tuple[Any, Any]:
    from pymilvus import DataType, Function, FunctionType

    schema, index = _empty()
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("document", DataType.INT64)
    schema.add_field("bare", DataType.BOOL)  # no vector: all zeros stand in its place
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dimension)
    for field in (*RANKED, *MATCHED):
        analysed = {"enable_analyzer": True, "enable_match": True, "analyzer_params": ANALYSER}
        schema.add_field(field, DataType.VARCHAR, max_length=MOST_BYTES, **analysed)
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
    schema.add_field("passages", DataType.INT64)  # 0: it is gone
    schema.add_field("bare", DataType.BOOL)
    schema.add_field("facts", DataType.VARCHAR, max_length=4096)
    schema.add_field("none", DataType.FLOAT_VECTOR, dim=2)  # a collection has to have one
    index.add_index("none", index_type="FLAT", metric_type="L2")
    return schema, index


def _empty() -> tuple[Any, Any]:
    from pymilvus import MilvusClient
    from pymilvus.milvus_client.index import IndexParams

    return MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False), IndexParams()
