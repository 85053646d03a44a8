"""Recall, measured: how many of the ten nearest rows an index proposes, on rows of its own.

A new index is measured before it is published: it probes as few lists as find enough (its file stores how many), and
one whose codes cannot find enough is replaced by one with better codes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import faiss
import numpy as np

from indexes.vectors.kinds import EXACT, build, probes, search_parameters

log = logging.getLogger(__name__)

K = 10
#: Recall of the ten nearest that an index is tuned to, and the least that is accepted. Queries of users find a little
#: less than rows of the index itself.
TARGET_RECALL, MIN_RECALL = 0.985, 0.97
#: Rows that are searched, and candidates for each: as many as a search for ten re-ranks at least.
QUERIES, CANDIDATES = 100, 160
#: Numbers of lists that are tried, one after the other.
LADDER = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096)
#: The kind that is built instead where the recall is not reached with all lists.
BETTER = "ivf-sq8"
_BLOCK = 1 << 16


def nearest_scores(rows: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Compare with every row, block by block; return the ``k`` highest scores of each query, best first.

    Shape (queries, k), float32; fewer columns where there are fewer rows. ``rows`` may be float16 and memory-mapped.
    """
    best = np.zeros((len(queries), 0), np.float32)
    for start in range(0, len(rows), _BLOCK):
        scores = queries @ np.asarray(rows[start : start + _BLOCK], dtype=np.float32).T
        best = np.concatenate([best, scores], axis=1)
        if best.shape[1] > k:
            best = -np.partition(-best, k - 1, axis=1)[:, :k]
    return -np.sort(-best, axis=1)


def recall(exact: np.ndarray, results: Sequence[np.ndarray]) -> float:
    """Return the share of the ``exact`` scores (queries, k) that ``results`` (scores per query) reach.

    By scores and not by rows, since equal vectors may stand for one another.
    """
    lowest = exact[:, -1] - 1e-5
    pairs = zip(results, lowest, strict=True)
    reached = sum(min(exact.shape[1], int(np.count_nonzero(scores >= low))) for scores, low in pairs)
    return float(reached / max(1, exact.size))


def build_measured(kind: str, rows: np.ndarray) -> tuple[str, faiss.Index | None]:
    """Build an index over ``rows`` and measure it; return its kind and the index, None for `EXACT`.

    The kind is `BETTER` where the requested one does not find `MIN_RECALL`.
    """
    if kind == EXACT:
        return kind, None
    index = build(kind, rows)
    if not isinstance(index, faiss.IndexIVF):
        return kind, index
    measured = tune(index, rows)
    if measured >= MIN_RECALL or kind == BETTER:
        return kind, index
    log.warning("an index of kind %s would find %.3f of the nearest; %s is built instead", kind, measured, BETTER)
    del index
    return build_measured(BETTER, rows)


def tune(index: faiss.IndexIVF, rows: np.ndarray, seed: int = 5) -> float:
    """Set ``index.nprobe`` to the fewest lists that find `TARGET_RECALL`, or to all; return the recall."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(rows), min(QUERIES, len(rows)), replace=False))
    queries = np.ascontiguousarray(rows[chosen], dtype=np.float32)
    exact = nearest_scores(rows, queries, K + 1)[:, 1:]  # without the row itself, which every index finds
    measured = 0.0
    for lists in [*(n for n in LADDER if n < index.nlist), index.nlist]:
        index.nprobe = lists
        measured = recall_of(index, rows, chosen, queries, exact)
        if measured >= TARGET_RECALL:
            break
    return measured


def recall_of(
    index: faiss.IndexIVF, rows: np.ndarray, chosen: np.ndarray, queries: np.ndarray, exact: np.ndarray
) -> float:
    """Return the share of the best rows, whose scores are ``exact``, that the index finds for the ``chosen`` rows."""
    if not exact.size:
        return 1.0
    parameters = search_parameters(index, probes(index))
    proposed = index.search(queries, min(CANDIDATES, index.ntotal), params=parameters)[1]
    scores = []
    for own, query, positions in zip(chosen, queries, proposed, strict=True):
        candidates = np.sort(positions[(positions >= 0) & (positions != own)])
        scores.append(np.asarray(rows[candidates], dtype=np.float32) @ query)
    return recall(exact, scores)
