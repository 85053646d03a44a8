"""Compare milvus-lite with FAISS and Tantivy over the same chunks: `python -m tests.benchmarks.milvus_beside [COUNT]`.

The tests run against milvus-lite. `--url` names another server, whose figures cannot be compared with these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from indexes.milvus.reader import MilvusReader
from indexes.milvus.server import Server
from indexes.milvus.writer import MilvusWriter
from indexes.reader import FolderReader
from pipeline.answer import Finder
from pipeline.documents import Chunk
from pipeline.errors import Unavailable
from pipeline.ports import IndexReader
from pipeline.questions import Caller, Filters, SearchRequest
from tests.benchmarks.chunks import BLOCK, DIMENSION, PER_DOCUMENT, Chunks
from tests.benchmarks.record import record
from tests.benchmarks.scale_fill import EMBEDDER, Exact, catalogue_of, fill
from tests.benchmarks.search_scale import FixedEmbedder
from tests.support.milvus import MilvusServer

QUERIES, SEED, PUBLISHED, LATE = 12, 11, 250, 2
ANYONE = Caller(("user:ann",))
FILTERS = {"all": Filters(), "twentieth": Filters(labels=("twentieth",))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=10_000)
    parser.add_argument("--url", help="of a running Milvus server")
    options = parser.parse_args()
    lite = None if options.url else MilvusServer()
    try:
        figures = compared(Chunks(options.count, SEED), Server(options.url or lite.url()))
    finally:
        if lite:
            lite.stop()
    print(json.dumps(figures, indent=1))
    command, data = f"python -m tests.benchmarks.milvus_beside {options.count}", "generated passages of 24 words"
    record("milvus_beside", command, figures, SEED, data)


def compared(chunks: Chunks, server: Server) -> dict[str, Any]:
    """Fill both kinds of index, measure them, and return the figures with the ratios of the medians."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        masks = {"all": None, "twentieth": chunks.labels == "twentieth"}
        exact = Exact(folder / "exact.npz", chunks.queries(QUERIES)[0], 10, masks)
        figures = {
            "passages": chunks.count,
            "queries": QUERIES,
            "folder_build_s": fill(folder, chunks, exact)["build_s"],
        }
        started = time.perf_counter()
        fill_milvus(server, folder / "milvus", chunks)
        figures["milvus_build_s"] = round(time.perf_counter() - started, 1)
        folders = measured(folder, chunks, exact, FolderReader(folder / "index"))
        there = measured(folder, chunks, exact, MilvusReader(server, "serving"))
    figures |= {f"folder_{name}": value for name, value in folders.items()}
    figures |= {f"milvus_{name}": value for name, value in there.items()}
    medians = [name for name in folders if name.endswith("p50_ms") and there[name] is not None]
    return figures | {f"ratio_{name[:-3]}": round(there[name] / folders[name], 1) for name in medians}


def fill_milvus(server: Server, root: Path, chunks: Chunks) -> None:
    """Add all chunks by the Milvus writer, publishing every `PUBLISHED` documents."""
    writer = MilvusWriter(server, root, "serving", EMBEDDER, DIMENSION)
    for block in chunks.blocks:
        texts, rows = chunks.texts(block), chunks.vectors(block)
        for place in tqdm(range(len(texts) // PER_DOCUMENT), desc="fill Milvus", unit="doc"):
            number, at = block * BLOCK // PER_DOCUMENT + 1 + place, place * PER_DOCUMENT
            passages = [Chunk(n, text, 0, len(text)) for n, text in enumerate(texts[at : at + PER_DOCUMENT])]
            writer.add(number, passages, rows[at : at + PER_DOCUMENT], None, f"{number}.txt")
            if place % PUBLISHED == PUBLISHED - 1:
                writer.publish()
    writer.publish()
    writer.close()


def measured(folder: Path, chunks: Chunks, exact: Exact, reader: IndexReader) -> dict[str, Any]:
    """Return the recall of vector search and the median times by way of searching, None where calls ended too late."""
    rows, texts = chunks.queries(QUERIES)
    catalogue = catalogue_of(folder)
    finder = Finder(catalogue.documents, catalogue.chunks, reader, FixedEmbedder(texts, rows))
    figures: dict[str, Any] = {}
    for name, filters in FILTERS.items():
        vectors, allowed = reader.snapshot().vectors, catalogue.documents.visible(ANYONE, filters)
        results = [vectors.search(row, 10, allowed) for row in rows]
        numbers = [{(h.document_number - 1) * PER_DOCUMENT + h.ordinal for h in hits} for hits in results]
        best = exact.best[name]
        shared = sum(len(set(a.tolist()) & b) for a, b in zip(best, numbers, strict=True))
        figures[f"{name}_recall_at_10"] = round(shared / best.size, 4)
        near = [lambda r=r, v=vectors, a=allowed: v.search(r, 10, a) for r in rows]
        figures[f"{name}_vectors_p50_ms"], _ = median(near)
        for mode in ("lexical", "hybrid"):
            searches = [
                lambda t=t, f=filters, m=mode: finder.search(ANYONE, SearchRequest(t, mode=m, filters=f)) for t in texts
            ]
            figures[f"{name}_{mode}_p50_ms"], late = median(searches)
            figures |= {f"{name}_{mode}_late": late} if late else {}
    facets = [lambda t=t: finder.facets(ANYONE, SearchRequest(t, mode="lexical"), ["type"]) for t in texts]
    figures["facets_p50_ms"], late = median(facets)
    figures |= {"facets_late": late} if late else {}
    return figures


def median(calls: Sequence[Callable[[], Any]]) -> tuple[float | None, int]:
    """Return the median in milliseconds, the first call not counted, and the number of calls that timed out.

    After `LATE` timeouts no more calls follow, and there is no median.
    """
    times, late = [], 0
    for place, call in enumerate(calls):
        started = time.perf_counter()
        try:
            call()
        except Unavailable:
            late += 1
            if late == LATE:
                return None, late
            continue
        if place:
            times.append(time.perf_counter() - started)
    return round(1000 * float(np.median(times)), 2), late


if __name__ == "__main__":
    main()
