"""The kinds of vector index, and which one a segment of a given size gets.

Every kind but "exact" proposes candidates from short codes; the scores that count are computed from the stored vectors.
FAISS's parameters are set here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import faiss
import numpy as np

from pipeline.errors import Misconfigured

EXACT = "exact"
#: Up to this many rows comparing all of them takes a few milliseconds; measured by `mailroom index advise`.
EXACT_ROWS = 20_000
#: The kind of a larger segment. Measured on 2026-11-24 (docs/decisions/0030): the smallest codes with the highest
#: recall.
LARGE = "ivf-rabitq"
#: Lists probed without a filter where nothing was measured (see measure.py); more where a filter leaves less in each.
PROBES = 48
#: Vectors per list that k-means is trained on, and its rounds.
SAMPLE_PER_LIST, ROUNDS = 40, 8
_BLOCK = 1 << 16
_INNER = faiss.METRIC_INNER_PRODUCT
_untyped: Any = faiss  # its type stub lacks keyword arguments and some classes


def kind_for(rows: int, large: str = "") -> str:
    """Return the kind of a segment of this many rows; ``large``: that of one above `EXACT_ROWS`, empty for `LARGE`."""
    return EXACT if rows <= EXACT_ROWS else large or LARGE


def lists_for(rows: int) -> int:
    """Return the number of inverted lists: a power of two near 4 * sqrt(rows), with enough rows in each to train it."""
    return 1 << int(np.log2(max(1, min(4 * sqrt(rows), rows / SAMPLE_PER_LIST))))


def _scalar(quantiser: int) -> Callable[[int, int], faiss.Index]:
    def make(dimension: int, rows: int) -> faiss.Index:
        coarse = faiss.IndexFlatIP(dimension)
        return faiss.IndexIVFScalarQuantizer(coarse, dimension, lists_for(rows), quantiser, _INNER)

    return make


def _product(dimension: int, rows: int) -> faiss.Index:
    parts = next(m for m in range(max(1, dimension // 8), 0, -1) if dimension % m == 0)
    bits = max(1, min(8, int(np.log2(max(2, rows / SAMPLE_PER_LIST)))))
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dimension), dimension, lists_for(rows), parts, bits, _INNER)
    index.pq.cp.niter = ROUNDS
    return index


def _hnsw(dimension: int, rows: int) -> faiss.Index:
    index: faiss.IndexHNSW = _untyped.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, 16, _INNER)
    index.hnsw.efConstruction = 80
    return index


#: name -> function of (dimension, rows) that makes an empty index for this many rows.
KINDS: dict[str, Callable[[int, int], faiss.Index]] = {
    "ivf-rabitq": lambda dimension, rows: faiss.IndexIVFRaBitQ(
        faiss.IndexFlatIP(dimension), dimension, lists_for(rows), _INNER
    ),
    "ivf-sq8": _scalar(faiss.ScalarQuantizer.QT_8bit),
    "ivf-sq4": _scalar(faiss.ScalarQuantizer.QT_4bit),
    "ivf-pq": _product,
    "hnsw-sq8": _hnsw,
}


def build(kind: str, rows: np.ndarray, seed: int = 7) -> faiss.Index:
    """Build an index over ``rows`` of shape (n, dimension); ids are positions.

    ``rows``: float16 or float32, perhaps memory-mapped. Copies a sample and one block of rows to float32 at a time,
    whatever n is. Raises Misconfigured("bad-index") for an unknown kind.
    """
    if kind not in KINDS:
        raise Misconfigured("bad-index", f"no index kind {kind!r}; there are exact, {', '.join(KINDS)}")
    count, dimension = rows.shape
    index = KINDS[kind](dimension, count)
    if not index.is_trained:
        if isinstance(index, faiss.IndexIVF):
            index.cp.niter, index.cp.spherical, index.cp.seed = ROUNDS, True, seed
            index.cp.min_points_per_centroid = 1
        index.train(_sample(rows, max(4096, SAMPLE_PER_LIST * lists_for(count)), seed))
    for start in range(0, count, _BLOCK):
        index.add(np.ascontiguousarray(rows[start : start + _BLOCK], dtype=np.float32))
    return index


def sort_by_list(index: faiss.IndexIVF) -> np.ndarray:
    """Renumber the index's rows list by list; return the former number of each, int64 of shape (rows,).

    Stored in that order, rows that a search reads together are neighbours: about a tenth of the pages
    (docs/decisions/0031).
    """
    order = np.empty(index.ntotal, np.int64)
    lists, start = index.invlists, 0
    assert lists is not None  # it is trained
    for number in range(index.nlist):
        size = lists.list_size(number)
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            order[start : start + size] = ids
            ids[:] = np.arange(start, start + size)
            start += size
    return order


def _sample(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    if len(rows) > count:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
        rows = rows[chosen]
    return np.ascontiguousarray(rows, dtype=np.float32)


def nearest(
    index: faiss.IndexRefine, query: np.ndarray, count: int, bits: np.ndarray | None, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of about ``count`` rows near ``query`` (1, dimension), and their scores, best first.

    ``index.base_index`` proposes and ``index.refine_index`` compares, in one call that releases Python's lock.
    ``bits``: one bit per row, little endian, of those that may be proposed; ``share``: of all rows that these are.
    Where the nearest lists hold too few, all of them are probed: a narrow filter never starves the answer.
    """
    selector = _selector(bits)  # named, since FAISS keeps only a pointer to it
    expected = min(count, max(1, round(share * index.ntotal)))
    base = faiss.downcast_index(index.base_index)
    for effort in _efforts(base, count, share):
        base_parameters = search_parameters(base, effort, selector)
        parameters = _untyped.IndexRefineSearchParameters(k_factor=1, base_index_params=base_parameters)
        (scores,), (positions,) = index.search(query, count, params=parameters)
        valid = positions >= 0
        if np.count_nonzero(valid) >= expected:
            break
    return positions[valid], scores[valid]


def _selector(bits: np.ndarray | None) -> faiss.IDSelector | None:
    """Return a selector of the rows whose bit is set. FAISS keeps only a pointer: ``bits`` must outlive it."""
    return faiss.IDSelectorBitmap(len(bits) * 8, faiss.swig_ptr(bits)) if bits is not None else None


def best_of(
    index: faiss.Index, query: np.ndarray, k: int, bits: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compare all rows whose bit is set, ``k`` at least; return positions and scores of the ``k`` best, best first."""
    selector = _selector(bits)
    (scores,), (positions,) = index.search(query, k, params=_untyped.SearchParameters(sel=selector))
    return positions, scores


def probes(index: faiss.IndexIVF) -> int:
    """Return how many lists were measured to be enough when the index was built; its file stores the number."""
    return int(index.nprobe) if index.nprobe > 1 else PROBES


def _efforts(index: faiss.Index, count: int, share: float) -> tuple[int, ...]:
    """Return numbers of lists to probe (for a graph, of candidates to follow): as many as should do, then all."""
    if not isinstance(index, faiss.IndexIVF):
        return (max(int(count / max(share, 0.01)), 64), index.ntotal)
    per_list = index.ntotal / index.nlist
    first = max(probes(index), 2 * count / per_list) / max(share, 1e-6)
    return (min(index.nlist, int(first) + 1), index.nlist)


def search_parameters(
    index: faiss.Index, effort: int, selector: faiss.IDSelector | None = None
) -> faiss.SearchParameters:
    """Return the parameters of a search. ``effort``: lists to probe, or for a graph candidates to follow."""
    options = {"nprobe": effort} if isinstance(index, faiss.IndexIVF) else {"efSearch": effort}
    kind = _untyped.SearchParametersIVF if isinstance(index, faiss.IndexIVF) else _untyped.SearchParametersHNSW
    parameters: faiss.SearchParameters = kind(**options, sel=selector)
    return parameters
