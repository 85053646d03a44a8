"""The filter of who may see what, as expressions of bounded size.

Allowed documents become runs of consecutive numbers among those that the index holds, so that nearly all of an
installation and nearly nothing of it are both short. With many runs, either more hits are read and forbidden ones left
out, or the runs are split over several searches and the best of all taken. Every hit is checked against the filter
again: the server may hold newer documents than the snapshot knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexes.filter_cache import FilterCache
from indexes.milvus.server import MAX_ROWS
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import ORDINAL_BITS, Hits

#: Runs in one expression; more are split over several searches.
MAX_RUNS = 4096
#: With more than `FEW_RUNS` runs, where more than this share of the documents is allowed, more hits are read first.
WIDE_SHARE, FEW_RUNS = 0.25, 256
#: Hits read beyond the expected number, so that the runs are rarely needed after all.
MARGIN, SPARE = 1.2, 64

#: (expression, limit) -> hits, best first.
Search = Callable[[str, int], Hits]


@dataclass(frozen=True, slots=True)
class Runs:
    """A filter as expressions of at most `MAX_RUNS` runs each.

    ``count``: runs in total; ``share``: of the index's documents that are allowed.
    """

    count: int
    share: float
    expressions: tuple[str, ...]


class DocumentFilter:
    """Restricts searches to allowed documents. ``present``: the documents of the index."""

    def __init__(self, present: DocumentNumbers) -> None:
        self._present = present
        self._runs: FilterCache[Runs] = FilterCache()

    def best(self, search: Search, k: int, allowed: DocumentNumbers | None) -> Hits:
        """Return the ``k`` best hits among the allowed documents, best first."""
        k = min(k, MAX_ROWS)
        if allowed is None:
            return search("", k)
        runs = self._runs.get(allowed, lambda allowed: runs_of(allowed, self._present))
        if not runs.count:
            return Hits(np.zeros(0, np.int64), np.zeros(0))
        limit = int(k / runs.share * MARGIN) + SPARE
        if runs.count > FEW_RUNS and runs.share > WIDE_SHARE and limit <= MAX_ROWS:
            hits = search("", limit)
            permitted = _permitted(hits, allowed)
            if len(hits) < limit or len(permitted) >= k:
                return Hits(permitted.keys[:k], permitted.scores[:k])
        parts = [_permitted(search(expression, k), allowed) for expression in runs.expressions]
        keys = np.concatenate([part.keys for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        order = np.lexsort((keys, -scores))[:k]
        return Hits(keys[order], scores[order])


def runs_of(allowed: DocumentNumbers, present: DocumentNumbers) -> Runs:
    """Return the runs of allowed documents; a run includes numbers that no document of the index has."""
    numbers = present.array
    places = np.flatnonzero(allowed.member(numbers))
    if len(places) == len(present):
        return Runs(1 if len(places) else 0, 1.0, ("",) if len(places) else ())
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    firsts = numbers[places[np.concatenate([[0], cuts]).astype(int)]] if len(places) else places
    lasts = numbers[places[np.concatenate([cuts - 1, [len(places) - 1]]).astype(int)]] if len(places) else places
    pairs = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
    parts = tuple(_expression(pairs[start : start + MAX_RUNS]) for start in range(0, len(pairs), MAX_RUNS))
    return Runs(len(pairs), len(places) / max(1, len(present)), parts)


def _expression(runs: list[tuple[int, int]]) -> str:
    single = [first for first, last in runs if first == last]
    alternatives = [f"document in {single}"] if single else []
    alternatives += [f"(document >= {first} and document <= {last})" for first, last in runs if first != last]
    return f"({' or '.join(alternatives)})"


def _permitted(hits: Hits, allowed: DocumentNumbers) -> Hits:
    mask = allowed.member(hits.keys >> ORDINAL_BITS)
    return Hits(hits.keys[mask], hits.scores[mask])
