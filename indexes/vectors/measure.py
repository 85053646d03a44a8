"""Recall, measured: how many of the ten nearest an index proposes, on rows of its own.

A new index is tried before it is published: it looks into as few lists as find enough (its file keeps how many), and
one whose codes cannot find enough gives way to one with better codes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import faiss
import numpy as np

from indexes.vectors.kinds import EXACT, build, probes

log = logging.getLogger(__name__)

K = 10
#: What an index must find of the ten nearest. Strangers' queries find a little less than rows of the index itself.
WANTED, LEAST = 0.985, 0.97
#: Rows that are asked for, and candidates for each: as many as a search for ten re-ranks at least.
QUERIES, CANDIDATES = 100, 160
#: Lists that are tried, one number after the other.
LADDER = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
#: What is built instead where the recall is not reached with all lists.
BETTER = "ivf-sq8"
_BLOCK = 1 << 16


def nearest(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """By comparing with every row, block by block: the ``k`` highest scores of each query, float32 (queries, k), best
    first; fewer columns where there are fewer rows. ``rows`` may be float16 and memory-mapped."""
    best = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(rows), _BLOCK):
        scores = queries @ np.asarray(rows[start : start + _BLOCK], dtype=np.float32).T
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > k:
            best = -np.partition(-best, k - 1, axis=1)[:, :k]
    return -np.sort(-best, axis=1)


def share_found(exact: np.ndarray, found: Sequence[np.ndarray]) -> float:
    """Recall: of the scores ``exact`` (queries, k) the share that ``found`` (scores per query) reaches. By scores and not by
    rows, since equal vectors may stand for one another."""
    least = exact[:, -1] - 1e-5
    reached = sum(min(exact.shape[1], int(np.count_nonzero(f >= low))) for f, low in zip(found, least, strict=True))
    return reached / max(1, exact.size)


def built(kind: str, rows: np.ndarray) -> tuple[str, faiss.Index | None]:
    """An index over ``rows`` that was measured, and its kind: `BETTER` where the one asked for does not find `LEAST`."""
    if kind == EXACT:
        return kind, None
    index = build(kind, rows)
    if not isinstance(index, faiss.IndexIVF):
        return kind, index
    recall = tune(index, rows)
    if recall >= LEAST or kind == BETTER:
        return kind, index
    log.warning("an index of kind %s would find %.3f of the nearest; %s is built instead", kind, recall, BETTER)
    del index
    return built(BETTER, rows)


def tune(index: faiss.IndexIVF, rows: np.ndarray, seed: int = 5) -> float:
    """Set ``index.nprobe`` to the fewest lists that find `WANTED`, all of them where none do; returns the recall."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), min(QUERIES, len(rows)), replace=False))
    queries = np.ascontiguousarray(rows[chosen], dtype=np.float32)
    exact = nearest(rows, queries, K + 1)[:, 1:]  # without the row itself, which everything finds
    recall = 0.0
    for lists in [*(n for n in LADDER if n < index.nlist), index.nlist]:
        index.nprobe = lists
        recall = _recall(index, rows, chosen, queries, exact)
        if recall >= WANTED:
            break
    return recall


def _recall(
    index: faiss.IndexIVF, rows: np.ndarray, chosen: np.ndarray, queries: np.ndarray, exact: np.ndarray
) -> float:
    if not exact.size:
        return 1.0
    parameters = faiss.SearchParametersIVF(nprobe=probes(index))
    proposed = index.search(queries, min(CANDIDATES, index.ntotal), params=parameters)[1]
    scores = []
    for own, query, at in zip(chosen, queries, proposed, strict=True):
        kept = np.sort(at[(at >= 0) & (at != own)])
        scores.append(np.asarray(rows[kept], dtype=np.float32) @ query)
    return share_found(exact, scores)
