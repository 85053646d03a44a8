"""The filled installation that search_scale.py measures: a catalogue and an index of any number of chunks."""

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
from indexes.catalogue.catalogue import Catalogue
from indexes.catalogue.database import bump_visibility
from indexes.catalogue.tables import access, chunks, documents
from indexes.open import open_catalogue
from indexes.writer import IndexWriter
from pipeline.documents import Chunk, Stage, State
from tests.benchmarks.chunks import BLOCK, DIMENSION, PER_DOCUMENT, Chunks

#: The "model" of vectors that come from no model.
EMBEDDER = "made-in-code"


def catalogue_of(folder: Path) -> Catalogue:
    return open_catalogue(f"sqlite:///{folder / 'catalogue.db'}")  # type: ignore[return-value]


def fill(
    folder: Path, made: Chunks, exact: Exact | None = None, embedder: str = EMBEDDER, merged: bool = True
) -> dict[str, Any]:
    """Catalogue rows (without vectors: search never reads them there) and the index, by the real writer; seconds, bytes.
    Goes on where it was interrupted: a block counts when it is published. ``exact`` is shown the vectors;
    ``embedder`` is the digest of the model that they pass for. Without ``merged`` a segment for each block is left."""
    catalogue = catalogue_of(folder)
    writer = IndexWriter(folder / "index", embedder, DIMENSION, compacting=False)
    spent = Spent(folder / "spent.json")
    done = len(writer.numbers) * PER_DOCUMENT // BLOCK
    _forget_from(catalogue, done * BLOCK // PER_DOCUMENT + 1)
    for block in tqdm(made.blocks[done:], desc="fill", unit="block", initial=done, total=len(made.blocks)):
        rows = made.vectors(block)
        if exact:
            exact.see(block, rows)
        _fill_block(catalogue, writer, made, block, rows, spent)
    with spent.on("merge"):
        if merged:
            writer.compact()
        writer.await_compaction()
        writer.publish(anyway=True)
    _forget_older(writer, folder / "index")
    writer.close()
    catalogue.close()
    size = sum(size for _, size in gen.read_manifest(gen.current(folder / "index")).files.values())
    wall, cpu = spent.wall, spent.cpu
    return {
        "build_s": round(wall["add"] + wall["publish"] + wall["merge"], 1),
        "build_cpu_s": round(cpu["add"] + cpu["publish"] + cpu["merge"], 1),
        "build_merge_s": round(wall["merge"], 1),
        "disk_gb": round(size / 1e9, 3),
        "catalogue_s": round(wall["catalogue"], 1),
    }


class Spent:
    """Seconds by part, on the clock and of processor time (which other work on the machine does not lengthen), kept in a
    file so that an interrupted fill goes on counting."""

    def __init__(self, file: Path) -> None:
        self._file = file
        held = json.loads(file.read_text()) if file.exists() else {}
        self.wall: Counter[str] = Counter(held.get("wall"))
        self.cpu: Counter[str] = Counter(held.get("cpu"))

    @contextmanager
    def on(self, part: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[part] += time.perf_counter() - wall
        self.cpu[part] += time.process_time() - cpu
        self._file.write_text(json.dumps({"wall": self.wall, "cpu": self.cpu}))


def _fill_block(
    catalogue: Catalogue, writer: IndexWriter, made: Chunks, block: int, rows: np.ndarray, spent: Spent
) -> None:
    texts = made.texts(block)
    first = block * BLOCK // PER_DOCUMENT + 1
    held = {
        first + n: [Chunk(j, text, 0, len(text)) for j, text in enumerate(texts[n * PER_DOCUMENT :][:PER_DOCUMENT])]
        for n in range(len(texts) // PER_DOCUMENT)
    }
    with spent.on("catalogue"):
        _insert(catalogue, made, held, writer.embedder)
    with spent.on("add"):
        for place, (number, passages) in enumerate(held.items()):
            writer.add(number, passages, rows[place * PER_DOCUMENT :][:PER_DOCUMENT], None, f"{number}.txt")
    with spent.on("publish"):
        writer.publish()


def _forget_from(catalogue: Catalogue, number: int) -> None:
    """Rows of a block that was never published."""
    with catalogue.database.write() as connection:
        for table in (chunks, access, documents):
            connection.execute(sa.delete(table).where(table.c.number >= number))


def _forget_older(writer: IndexWriter, root: Path) -> None:
    """Older generations keep the unmerged vectors: three more publications let them go."""
    for _ in range(gen.KEPT):
        writer.publish(anyway=True)
    assert len(gen.generations(root)) == gen.KEPT


def _insert(catalogue: Catalogue, made: Chunks, held: dict[int, list[Chunk]], embedder: str) -> None:
    rows = [_document(number, str(made.labels[number - 1]), embedder) for number in held]
    texts = [(n, c.ordinal, c.text, c.start, c.end) for n, passages in held.items() for c in passages]
    with catalogue.database.write() as connection:
        connection.execute(sa.insert(documents), rows)
        connection.exec_driver_sql(
            'INSERT INTO chunks (number, ordinal, text, start, "end") VALUES (?, ?, ?, ?, ?)', texts
        )
        connection.execute(sa.insert(access), [{"number": number, "principal": "*"} for number in held])
        bump_visibility(connection)


def _document(number: int, label: str, embedder: str) -> dict[str, Any]:
    path = f"{number}.txt"
    row = {"number": number, "id": f"{number:032x}", "tenant": "default", "content_hash": f"{number:064x}", "size": 1}
    row |= {"name": path, "source": "bench", "path": path, "labels": [], "state": State.INDEXED, "stage": Stage.INDEX}
    return row | {"received_at": 1.0, "label": label or None, "metadata": {}, "embedder": embedder}


class Exact:
    """The ``k`` nearest chunks of each query by comparing with every vector, block by block: for each mask over documents
    (None: all) an array of chunk numbers (queries, k). Kept in a file, so that an interrupted fill goes on."""

    def __init__(self, file: Path, queries: np.ndarray, k: int, masks: Mapping[str, np.ndarray | None]) -> None:
        self._file, self._queries, self._k, self._masks = file, queries, k, masks
        held = dict(np.load(file)) if file.exists() else {}
        shape = len(queries), k
        self._scores = {name: held.get(f"scores_{name}", np.full(shape, -np.inf)) for name in masks}
        self.best = {name: held.get(name, np.zeros(shape, np.int64)) for name in masks}
        self.blocks = int(held.get("blocks", 0))

    def see(self, block: int, rows: np.ndarray) -> None:
        """The vectors of the next block; one that was seen before the interruption is passed over."""
        if block < self.blocks:
            return
        at = np.arange(block * BLOCK, block * BLOCK + len(rows))
        scores = self._queries @ rows.T
        for name, mask in self._masks.items():
            self._take(name, at, scores if mask is None else np.where(mask[at // PER_DOCUMENT], scores, -np.inf))
        self.blocks = block + 1
        held = {f"scores_{name}": scores for name, scores in self._scores.items()}
        np.savez(self._file, blocks=self.blocks, **self.best, **held)

    def _take(self, name: str, at: np.ndarray, scores: np.ndarray) -> None:
        top = np.argpartition(-scores, self._k - 1, axis=1)[:, : self._k]
        merged = np.concatenate([self._scores[name], np.take_along_axis(scores, top, 1)], axis=1)
        where = np.concatenate([self.best[name], at[top]], axis=1)
        kept = np.argpartition(-merged, self._k - 1, axis=1)[:, : self._k]
        self._scores[name], self.best[name] = np.take_along_axis(merged, kept, 1), np.take_along_axis(where, kept, 1)
