"""Fill an installation with any number of chunks, for the benchmarks of search at scale: catalogue and index."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from tqdm import tqdm

from indexes import generations as gen
from indexes.catalogue import tables
from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.database import bump_visibility
from indexes.open import open_catalogue
from indexes.writer import FolderWriter
from pipeline.documents import Chunk, Stage, State
from tests.benchmarks.chunks import BLOCK, DIMENSION, PER_DOCUMENT, Chunks

#: Stands for the model of vectors that no model computed.
EMBEDDER = "generated"


def catalogue_of(folder: Path) -> Catalogue:
    return open_catalogue(f"sqlite:///{folder / 'catalogue.db'}")  # type: ignore[return-value]


def fill(
    folder: Path, chunks: Chunks, exact: Exact | None = None, embedder: str = EMBEDDER, merged: bool = True
) -> dict[str, Any]:
    """Fill catalogue (without vectors: search never reads them there) and index by the real writer.

    Returns seconds and bytes. An interrupted fill resumes after the last published block.

    Args:
        folder: where the installation is.
        chunks: what to fill it with.
        exact: receives the vectors, to compute exact results.
        embedder: the digest of the model for which the vectors stand.
        merged: whether to merge the segments in the end; otherwise there is one per block.
    """
    catalogue = catalogue_of(folder)
    writer = FolderWriter(folder / "index", embedder, DIMENSION, compacting=False)
    stopwatch = Stopwatch(folder / "spent.json")
    done = len(writer.numbers) * PER_DOCUMENT // BLOCK
    _forget_from(catalogue, done * BLOCK // PER_DOCUMENT + 1)
    for block in tqdm(chunks.blocks[done:], desc="fill", unit="block", initial=done, total=len(chunks.blocks)):
        rows = chunks.vectors(block)
        if exact:
            exact.add(block, rows)
        _fill_block(catalogue, writer, chunks, block, rows, stopwatch)
    with stopwatch.measure("merge"):
        if merged:
            writer.compact()
        writer.await_compaction()
        writer.publish(force=True)
    _forget_older(writer, folder / "index")
    writer.close()
    catalogue.close()
    size = sum(size for _, size in gen.read_manifest(gen.current(folder / "index")).files.values())
    wall, cpu = stopwatch.wall, stopwatch.cpu
    return {
        "build_s": round(wall["add"] + wall["publish"] + wall["merge"], 1),
        "build_cpu_s": round(cpu["add"] + cpu["publish"] + cpu["merge"], 1),
        "build_merge_s": round(wall["merge"], 1),
        "disk_gb": round(size / 1e9, 3),
        "catalogue_s": round(wall["catalogue"], 1),
    }


class Stopwatch:
    """Seconds by part, on the clock and of processor time, which other work on the machine does not lengthen.

    They are stored in a file, so that an interrupted fill continues to count.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        stored = json.loads(file.read_text()) if file.exists() else {}
        self.wall: Counter[str] = Counter(stored.get("wall"))
        self.cpu: Counter[str] = Counter(stored.get("cpu"))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the block to a part."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[part] += time.perf_counter() - wall
        self.cpu[part] += time.process_time() - cpu
        self._file.write_text(json.dumps({"wall": self.wall, "cpu": self.cpu}))


def _fill_block(
    catalogue: Catalogue, writer: FolderWriter, chunks: Chunks, block: int, rows: np.ndarray, stopwatch: Stopwatch
) -> None:
    texts = chunks.texts(block)
    first = block * BLOCK // PER_DOCUMENT + 1
    by_document = {
        first + n: [Chunk(j, text, 0, len(text)) for j, text in enumerate(texts[n * PER_DOCUMENT :][:PER_DOCUMENT])]
        for n in range(len(texts) // PER_DOCUMENT)
    }
    with stopwatch.measure("catalogue"):
        _insert(catalogue, chunks, by_document, writer.embedder)
    with stopwatch.measure("add"):
        for place, (number, passages) in enumerate(by_document.items()):
            writer.add(number, passages, rows[place * PER_DOCUMENT :][:PER_DOCUMENT], None, f"{number}.txt")
    with stopwatch.measure("publish"):
        writer.publish()


def _forget_from(catalogue: Catalogue, number: int) -> None:
    """Delete the rows of a block that was never published."""
    with catalogue.database.write() as connection:
        for table in (tables.chunks, tables.access, tables.documents):
            connection.execute(sa.delete(table).where(table.c.number >= number))


def _forget_older(writer: FolderWriter, root: Path) -> None:
    """Publish until the older generations, which hold the unmerged vectors, are deleted."""
    for _ in range(gen.KEPT):
        writer.publish(force=True)
    assert len(gen.generations(root)) == gen.KEPT


def _insert(catalogue: Catalogue, chunks: Chunks, by_document: dict[int, list[Chunk]], embedder: str) -> None:
    rows = [_document(number, str(chunks.labels[number - 1]), embedder) for number in by_document]
    texts = [(n, c.ordinal, c.text, c.start, c.end) for n, passages in by_document.items() for c in passages]
    with catalogue.database.write() as connection:
        connection.execute(sa.insert(tables.documents), rows)
        connection.exec_driver_sql(
            'INSERT INTO chunks (number, ordinal, text, start, "end") VALUES (?, ?, ?, ?, ?)', texts
        )
        connection.execute(sa.insert(tables.access), [{"number": number, "principal": "*"} for number in by_document])
        bump_visibility(connection)


def _document(number: int, label: str, embedder: str) -> dict[str, Any]:
    path = f"{number}.txt"
    row = {"number": number, "id": f"{number:032x}", "tenant": "default", "content_hash": f"{number:064x}", "size": 1}
    row |= {"name": path, "source": "bench", "path": path, "labels": [], "state": State.INDEXED, "stage": Stage.INDEX}
    return row | {"received_at": 1.0, "label": label or None, "metadata": {}, "embedder": embedder}


class Exact:
    """The ``k`` nearest chunks of each query, found by comparing it with every vector, block by block.

    ``best`` holds for each mask over documents (None: all) an array of chunk numbers, (queries, k). The state is stored
    in a file, so that an interrupted fill can resume.
    """

    def __init__(self, file: Path, queries: np.ndarray, k: int, masks: Mapping[str, np.ndarray | None]) -> None:
        self._file, self._queries, self._k, self._masks = file, queries, k, masks
        stored = dict(np.load(file)) if file.exists() else {}
        shape = len(queries), k
        self._scores = {name: stored.get(f"scores_{name}", np.full(shape, -np.inf)) for name in masks}
        self.best = {name: stored.get(name, np.zeros(shape, np.int64)) for name in masks}
        self.blocks = int(stored.get("blocks", 0))

    def add(self, block: int, rows: np.ndarray) -> None:
        """Compare the vectors of the next block; one that was compared before an interruption is skipped."""
        if block < self.blocks:
            return
        at = np.arange(block * BLOCK, block * BLOCK + len(rows))
        scores = self._queries @ rows.T
        for name, mask in self._masks.items():
            self._take(name, at, scores if mask is None else np.where(mask[at // PER_DOCUMENT], scores, -np.inf))
        self.blocks = block + 1
        scores = {f"scores_{name}": array for name, array in self._scores.items()}
        np.savez(self._file, blocks=self.blocks, **self.best, **scores)

    def _take(self, name: str, at: np.ndarray, scores: np.ndarray) -> None:
        top = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
        merged = np.concatenate([self._scores[name], np.take_along_axis(scores, top, 1)], axis=1)
        where = np.concatenate([self.best[name], at[top]], axis=1)
        nearest = np.argpartition(-merged, self._k - 1, axis=1)[:, : self._k]
        self._scores[name], self.best[name] = (
            np.take_along_axis(merged, nearest, 1),
            np.take_along_axis(where, nearest, 1),
        )
