"""Which kind of index suits this machine and these vectors: each built, written, mapped and searched."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexes.vectors.kinds import EXACT, EXACT_ROWS, KINDS, kind_for
from indexes.vectors.measure import MIN_RECALL, K, nearest_scores, recall
from indexes.vectors.segments import Segment, make_segment, read_segment, write_segment

#: A kind that takes this many times as long as the fastest good one is not recommended, however small it is.
SLOWER = 2.0
#: Searches before the measured ones.
WARM_UP = 3
#: Generated vectors: hidden dimensions, spread around a topic, noise, vectors per topic, and how many are made at a
#: time.
HIDDEN, SPREAD, NOISE, PER_TOPIC, BLOCK = 64, 0.8, 0.15, 2000, 20_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """One kind, measured over ``rows`` vectors.

    ``requested`` was asked for, ``kind`` was built: a better one where the first finds too little. ``recall``: of the
    ten nearest; ``p50_ms``: of one search; ``index_bytes``, ``disk_bytes``: per vector, of what is searched (and so
    stays in memory) and of all files; ``build_s``: seconds to build.
    """

    requested: str
    kind: str
    rows: int
    recall: float
    p50_ms: float
    index_bytes: float
    disk_bytes: float
    build_s: float


class Topics:
    """Clustered vectors, the same for the same seed.

    Topics in 64 hidden dimensions are rotated into ``dimension``, with noise in all of them; about 2,000 vectors each.
    """

    def __init__(self, count: int, dimension: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._topics = rng.normal(size=(max(50, count // PER_TOPIC), HIDDEN)).astype(np.float32)
        self._rotation = rng.normal(size=(HIDDEN, dimension)).astype(np.float32) / np.sqrt(HIDDEN)

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw vectors near the topics: float32 of shape (count, dimension), L2-normalised."""
        hidden = self._topics[rng.integers(len(self._topics), size=count)]
        hidden = hidden + SPREAD * rng.standard_normal((count, HIDDEN), dtype=np.float32)
        rows = hidden @ self._rotation
        rows += NOISE * rng.standard_normal(rows.shape, dtype=np.float32)
        normalised: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        return normalised


def generate(count: int, dimension: int, queries: int, seed: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows, queries) of `Topics`."""
    topics, rng = Topics(count, dimension, seed), np.random.default_rng((seed, 1))
    blocks = [topics.sample(rng, min(BLOCK, count - start)) for start in range(0, count, BLOCK)]
    return np.concatenate(blocks), topics.sample(rng, queries)


def sample(segments: Sequence[Segment], count: int, queries: int, seed: int = 11) -> tuple[np.ndarray, np.ndarray]:
    """Draw (rows, queries) from an index's valid vectors; no row is a query too. Of few, one in ten is a query."""
    valid = [np.arange(len(s)) if s.live is None else np.flatnonzero(s.live) for s in segments]
    total = sum(map(len, valid))
    chosen = np.random.default_rng(seed).permutation(total)[: count + queries]
    query_count = min(queries, max(1, len(chosen) // 10))
    vectors, start = np.zeros((len(chosen), segments[0].rows.array.shape[1]), np.float32), 0
    for segment, positions in zip(segments, valid, strict=True):
        here = np.flatnonzero((chosen >= start) & (chosen < start + len(positions)))
        vectors[here] = segment.rows.array[positions[chosen[here] - start]]
        start += len(positions)
    return vectors[query_count:], vectors[:query_count]


def measure_kinds(
    rows: np.ndarray, queries: np.ndarray, kinds: Sequence[str] = (EXACT, *KINDS)
) -> Iterator[Measurement]:
    """Yield each kind's measurement as soon as it is made. ``rows``, ``queries``: float32, L2-normalised."""
    exact = nearest_scores(rows, queries, min(K, len(rows)))
    keys = np.arange(len(rows), dtype=np.int64)
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            yield measure_kind(kind, keys, rows, queries, exact, Path(folder))


def measure_kind(
    kind: str, keys: np.ndarray, rows: np.ndarray, queries: np.ndarray, exact: np.ndarray, folder: Path
) -> Measurement:
    """Build a segment of one kind in ``folder``, and measure its size, its times and its recall of ``exact``."""
    started = time.perf_counter()
    built = make_segment("measured", keys, rows, kind)
    seconds = time.perf_counter() - started
    write_segment(built, folder)
    segment = read_segment("measured", built.kind, rows.shape[1], folder)
    sizes = {file.suffix: file.stat().st_size for file in folder.iterdir()}
    times, scores = [], []
    for query in (*queries[:WARM_UP], *queries):
        started = time.perf_counter()
        positions, _ = segment.search(query, K, None)
        times.append(time.perf_counter() - started)
        scores.append(rows[positions] @ query)  # exact scores: the stored ones may be rounded
    return Measurement(
        requested=kind,
        kind=built.kind,
        rows=len(rows),
        recall=recall(exact, scores[WARM_UP:]),
        p50_ms=1000 * float(np.median(times[WARM_UP:])),
        index_bytes=sizes.get(".faiss", sizes.get(".f32", 0)) / len(rows),
        disk_bytes=sum(sizes.values()) / len(rows),
        build_s=seconds,
    )


def recommend(measurements: Sequence[Measurement], total: int) -> tuple[str, str]:
    """Return the kind for ``total`` vectors, and the reason in one sentence."""
    if kind_for(total) == EXACT:
        return EXACT, f"up to {EXACT_ROWS:,} vectors are all compared: exact, and nothing to build"
    good = [m for m in measurements if m.recall >= MIN_RECALL and m.kind == m.requested != EXACT]
    if not good:
        return EXACT, f"no other kind finds {MIN_RECALL:.0%} of the ten nearest"
    fastest = min(m.p50_ms for m in good)
    best = min((m for m in good if m.p50_ms <= SLOWER * fastest), key=lambda m: m.index_bytes)
    share = f"{MIN_RECALL:.0%} of the ten nearest"
    reason = f"of those that find {share}, and take at most {SLOWER:g} times the fastest one's time,"
    return best.kind, f"{reason} it needs the fewest bytes in memory"
