"""Run another search library on the same task, in its own environment: `python peers.py txtai|haystack FOLDER`.

FOLDER holds texts.json ({"documents": {id: text}, "queries": {id: text}}) and vectors.npz with the vectors of both, all
from the same embedding model. The result is NAME.json: {query id: [document ids, best first]}. Both libraries are used
as their documentation shows hybrid search: txtai's `hybrid=True`, Haystack's BM25 and embedding retrievers behind its
DocumentJoiner with reciprocal rank fusion. Needs neither Mailroom nor a network.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

DEPTH = 100


def txtai(documents: Mapping[str, str], queries: Mapping[str, str], rows: np.ndarray, query_rows: np.ndarray) -> dict:
    """Search with txtai's own BM25 and vector index, fused by its weights."""
    from txtai import Embeddings

    vectors = dict(zip(queries.values(), query_rows, strict=True)) | dict(zip(documents.values(), rows, strict=True))
    embeddings = Embeddings(
        method="external",
        transform=lambda texts: np.stack([vectors[text] for text in texts]),
        hybrid=True,
    )
    embeddings.index([(name, text, None) for name, text in documents.items()])
    return {name: [document for document, _ in embeddings.search(text, DEPTH)] for name, text in queries.items()}


def haystack(
    documents: Mapping[str, str], queries: Mapping[str, str], rows: np.ndarray, query_rows: np.ndarray
) -> dict:
    """Search with Haystack's in-memory store, two retrievers and the joiner."""
    from haystack import Document
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    items = zip(documents.items(), rows, strict=True)
    store.write_documents([Document(id=name, content=text, embedding=row.tolist()) for (name, text), row in items])
    lexical, semantic = InMemoryBM25Retriever(store, top_k=DEPTH), InMemoryEmbeddingRetriever(store, top_k=DEPTH)
    joiner = DocumentJoiner(join_mode="reciprocal_rank_fusion", top_k=DEPTH)
    run = {}
    for (name, text), vector in zip(queries.items(), query_rows, strict=True):
        parts = [lexical.run(query=text)["documents"], semantic.run(query_embedding=vector.tolist())["documents"]]
        run[name] = [document.id for document in joiner.run(documents=parts)["documents"]]
    return run


PEERS: Mapping[str, Callable[..., dict]] = {"txtai": txtai, "haystack": haystack}


def main(name: str, folder: Path) -> None:
    texts = json.loads((folder / "texts.json").read_text())
    vectors = np.load(folder / "vectors.npz")
    started = time.monotonic()
    run = PEERS[name](texts["documents"], texts["queries"], vectors["documents"], vectors["queries"])
    (folder / f"{name}.json").write_text(json.dumps(run))
    print(f"{name}: {len(run)} queries, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
