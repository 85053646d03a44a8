"""Which kind of index suits this machine and these vectors: each kind built, written, mapped and searched, beside exact."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.vectors.kinds import EXACT, EXACT_ROWS, KINDS, kind_for
from indexes.vectors.measure import LEAST, K, nearest, share_found
from indexes.vectors.segments import Segment, make_segment, read_segment, write_segment

#: A kind that takes this many times as long as the quickest good one is not recommended, however small it is.
SLOWER = 2.0
HIDDEN, WIDTH, NOISE, PER_TOPIC = 64, 0.8, 0.15, 2000


@dataclass(frozen=True, slots=True)
class Line:
    """One kind, measured over ``rows`` vectors: recall@10 against exact, milliseconds of the median search, bytes per vector
    of the index (searched, so it stays in memory) and with the stored vectors, seconds to build. ``kind`` is what was
    built: a better one than asked for where that finds too little."""

    asked: str
    kind: str
    rows: int
    recall: float
    p50_ms: float
    index_bytes: float
    disk_bytes: float
    build_s: float


class Topics:
    """Clustered vectors, the same for the same seed: near topics in 64 hidden dimensions, turned into ``dimension``, with
    noise in all of them; about 2,000 vectors a topic."""

    def __init__(self, count: int, dimension: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._topics = rng.normal(size=(max(50, count // PER_TOPIC), HIDDEN)).astype(np.float32)
        self._turn = rng.normal(size=(HIDDEN, dimension)).astype(np.float32) / np.sqrt(HIDDEN)

    def near(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """float32 (count, dimension), L2-normalised."""
        hidden = self._topics[rng.integers(len(self._topics), size=count)]
        hidden = hidden + WIDTH * rng.standard_normal((count, HIDDEN), dtype=np.float32)
        rows = hidden @ self._turn
        rows += NOISE * rng.standard_normal(rows.shape, dtype=np.float32)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made(count: int, dimension: int, queries: int, seed: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """(rows, queries) of `Topics`."""
    topics, rng = Topics(count, dimension, seed), np.random.default_rng((seed, 1))
    blocks = [topics.near(rng, min(20_000, count - start)) for start in range(0, count, 20_000)]
    return np.concatenate(blocks), topics.near(rng, queries)


def sampled(segments: Sequence[Segment], count: int, queries: int, seed: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """(rows, queries) drawn from an index's valid vectors; no row is a query too."""
    valid = [np.arange(len(s)) if s.live is None else np.flatnonzero(s.live) for s in segments]
    total = sum(map(len, valid))
    chosen = np.random.default_rng(seed).permutation(total)[: count + queries]
    asked = min(queries, max(1, len(chosen) // 10))
    parts, start = np.zeros((len(chosen), segments[0].rows.array.shape[1]), np.float32), 0
    for segment, at in zip(segments, valid, strict=True):
        here = np.flatnonzero((chosen >= start) & (chosen < start + len(at)))
        parts[here] = segment.rows.array[at[chosen[here] - start]]
        start += len(at)
    return parts[asked:], parts[:asked]


def table(rows: np.ndarray, queries: np.ndarray, kinds: Sequence[str] = (EXACT, *KINDS)) -> Iterator[Line]:
    """A line for each kind as soon as it was measured. ``rows`` and ``queries``: float32, L2-normalised."""
    exact = nearest(rows, queries, min(K, len(rows)))
    keys = np.arange(len(rows), dtype=np.int64)
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            yield _line(kind, keys, rows, queries, exact, Path(folder))


def _line(asked: str, keys: np.ndarray, rows: np.ndarray, queries: np.ndarray, exact: np.ndarray, folder: Path) -> Line:
    started = time.perf_counter()
    made = make_segment("measured", keys, rows, asked)
    seconds = time.perf_counter() - started
    write_segment(made, folder)
    segment = read_segment("measured", made.kind, rows.shape[1], folder)
    sizes = {file.suffix: file.stat().st_size for file in folder.iterdir()}
    times, found = [], []
    for query in (*queries[:3], *queries):
        started = time.perf_counter()
        positions, _ = segment.search(query, K, None)
        times.append(time.perf_counter() - started)
        found.append(rows[positions] @ query)  # exact scores: the stored ones may be rounded
    searched = sizes.get(".faiss", sizes.get(".f32", 0))
    return Line(
        asked,
        made.kind,
        len(rows),
        share_found(exact, found[3:]),
        1000 * float(np.median(times[3:])),
        searched / len(rows),
        sum(sizes.values()) / len(rows),
        seconds,
    )


def recommend(lines: Sequence[Line], total: int) -> tuple[str, str]:
    """The kind for ``total`` vectors, and why, in one sentence."""
    if kind_for(total) == EXACT:
        return EXACT, f"up to {EXACT_ROWS:,} vectors are all compared: exact, and nothing to build"
    good = [line for line in lines if line.recall >= LEAST and line.kind == line.asked != EXACT]
    if not good:
        return EXACT, f"no other kind finds {LEAST:.0%} of the ten nearest"
    quickest = min(line.p50_ms for line in good)
    best = min((line for line in good if line.p50_ms <= SLOWER * quickest), key=lambda line: line.index_bytes)
    reason = (
        f"of those that find {LEAST:.0%} of the ten nearest, and take at most {SLOWER:g} times the quickest one's time,"
    )
    return best.kind, f"{reason} it needs the fewest bytes in memory"
