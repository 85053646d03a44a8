"""The filled installation that search_scale.py measures: a catalogue and an index of any number of chunks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from tqdm import tqdm

from indexes import generations as gen
from indexes.catalogue.catalogue import SqlCatalogue
from indexes.catalogue.tables import access, chunks, documents
from indexes.open import open_catalogue
from indexes.writer import IndexWriter
from pipeline.documents import Chunk, Stage, State
from tests.benchmarks.chunks import BLOCK, DIMENSION, PER_DOCUMENT, Chunks

#: The "model" of vectors that come from no model.
EMBEDDER = "made-in-code"


def catalogue_of(folder: Path) -> SqlCatalogue:
    return open_catalogue(f"sqlite:///{folder / 'catalogue.db'}")  # type: ignore[return-value]


def fill(folder: Path, made: Chunks) -> dict[str, Any]:
    """Catalogue rows (without vectors: search never reads them there) and the index, by the real writer; seconds, bytes."""
    catalogue = catalogue_of(folder)
    writer = IndexWriter(folder / "index", EMBEDDER, DIMENSION, compacting=False)
    spent = {"catalogue": 0.0, "add": 0.0, "publish": 0.0}
    for block in tqdm(made.blocks, desc="fill", unit="block"):
        texts, rows = made.texts(block), made.vectors(block)
        first = block * BLOCK // PER_DOCUMENT + 1
        held = {
            first + n: [Chunk(j, text, 0, len(text)) for j, text in enumerate(texts[n * PER_DOCUMENT :][:PER_DOCUMENT])]
            for n in range(len(texts) // PER_DOCUMENT)
        }
        started = time.perf_counter()
        _insert(catalogue, made, held)
        added = time.perf_counter()
        for place, (number, passages) in enumerate(held.items()):
            writer.add(number, passages, rows[place * PER_DOCUMENT :][:PER_DOCUMENT], None, f"{number}.txt")
        published = time.perf_counter()
        writer.publish()
        now = time.perf_counter()
        for part, seconds in zip(spent, (added - started, published - added, now - published), strict=True):
            spent[part] += seconds
    started = time.perf_counter()
    writer.compact()
    writer.await_compaction()
    writer.publish(anyway=True)
    merging = time.perf_counter() - started
    _forget_older(writer, folder / "index")
    writer.close()
    catalogue.close()
    size = sum(size for _, size in gen.read_manifest(gen.current(folder / "index")).files.values())
    return {
        "build_s": round(spent["add"] + spent["publish"] + merging, 1),
        "build_merge_s": round(merging, 1),
        "disk_gb": round(size / 1e9, 3),
        "catalogue_s": round(spent["catalogue"], 1),
    }


def _forget_older(writer: IndexWriter, root: Path) -> None:
    """Older generations keep the unmerged vectors: three more publications let them go."""
    for _ in range(gen.KEPT):
        writer.publish(anyway=True)
    assert len(gen.generations(root)) == gen.KEPT


def _insert(catalogue: SqlCatalogue, made: Chunks, held: dict[int, list[Chunk]]) -> None:
    rows = [_document(number, str(made.labels[number - 1])) for number in held]
    texts = [
        {"number": n, "ordinal": c.ordinal, "text": c.text, "start": 0, "end": len(c.text), "vector": None}
        for n, passages in held.items()
        for c in passages
    ]
    with catalogue.store.write() as connection:
        connection.execute(sa.insert(documents), rows)
        connection.execute(sa.insert(chunks), texts)
        connection.execute(sa.insert(access), [{"number": number, "principal": "*"} for number in held])
        catalogue.store.touch(connection)


def _document(number: int, label: str) -> dict[str, Any]:
    path = f"{number}.txt"
    row = {"number": number, "id": f"{number:032x}", "tenant": "default", "revision": f"{number:064x}", "size": 1}
    row |= {"name": path, "source": "bench", "path": path, "labels": [], "state": State.INDEXED, "stage": Stage.INDEX}
    return row | {"received_at": 1.0, "label": label or None, "metadata": {}, "embedder": EMBEDDER}


def exact_best(
    made: Chunks, queries: np.ndarray, k: int, masks: dict[str, np.ndarray | None]
) -> dict[str, list[set[int]]]:
    """By comparing with every vector: for each mask over documents (None: all), the best ``k`` chunk indices per query."""
    best = {name: (np.full((len(queries), k), -np.inf), np.zeros((len(queries), k), np.int64)) for name in masks}
    for block in made.blocks:
        rows = made.vectors(block)
        at = np.arange(block * BLOCK, block * BLOCK + len(rows))
        scores = queries @ rows.T
        for name, mask in masks.items():
            held = scores if mask is None else np.where(mask[at // PER_DOCUMENT], scores, -np.inf)
            top = np.argpartition(-held, k - 1, axis=1)[:, :k]
            merged = np.concatenate([best[name][0], np.take_along_axis(held, top, 1)], axis=1)
            where = np.concatenate([best[name][1], at[top]], axis=1)
            kept = np.argpartition(-merged, k - 1, axis=1)[:, :k]
            best[name] = (np.take_along_axis(merged, kept, 1), np.take_along_axis(where, kept, 1))
    return {name: [set(row.tolist()) for row in where] for name, (_, where) in best.items()}
