"""Filters in Tantivy, which knows no bitmaps: a list of the allowed documents' terms where it is short, reading on until
there are enough where most are allowed anyway. Either way the answer is that of a search over the allowed alone."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import tantivy
from tantivy import Occur, Query

from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import ORDINAL_BITS

#: Where more than this share of the documents is allowed, hits are read and the others left out.
WIDE = 0.25
#: Hits read beyond the expected number, so that a second look is rare.
MARGIN, SPARE = 1.2, 64
FILTERS_KEPT = 16
#: Passages that have a word, read until one is allowed; beyond them the filter is asked.
LOOKED_AT = 512
#: Words whose answer is kept for a filter.
WORDS_KEPT = 4096

Found = tuple[np.ndarray, np.ndarray]


@dataclass(slots=True)
class Limit:
    """What a filter means for one index. ``query``, and ``others``, which says the same by those that are not allowed, are
    made when they are first needed."""

    kept: DocumentNumbers
    share: float
    query: Query | None = None
    others: Query | None = None
    #: words that were asked for: whether one of the allowed documents has them
    words: dict[str, bool] = field(default_factory=dict)


class LimitedSearch:
    """Best hits among the allowed documents, as (chunk keys, scores). ``present``: the documents in the index."""

    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema, present: DocumentNumbers) -> None:
        self._searcher, self._schema, self._present = searcher, schema, present
        self._size = int(searcher.num_docs)
        self._limits: list[tuple[weakref.ref[DocumentNumbers], Limit]] = []
        self._lock = Lock()

    def best(self, query: Query, k: int, allowed: DocumentNumbers | None, wide: float = WIDE) -> Found:
        """Best first. ``wide``: the share from which on hits are read and the forbidden left out; smaller pays for few hits."""
        limit = self._limit(allowed) if allowed is not None else None
        if limit is None or len(limit.kept) == len(self._present):
            return self._run(query, k)
        if not len(limit.kept):
            return np.zeros(0, np.int64), np.zeros(0)
        if limit.share > wide:
            wanted = int(k / limit.share * MARGIN) + SPARE
            keys, scores = self._run(query, wanted)
            good = limit.kept.member(keys >> ORDINAL_BITS)
            if len(keys) < wanted or np.count_nonzero(good) >= k:
                return keys[good][:k], scores[good][:k]
        return self._run(Query.boolean_query([(Occur.Must, query), (Occur.Must, self._members(limit))]), k)

    def holds(self, word: str, passages: Callable[[str], Query], allowed: DocumentNumbers | None) -> bool:
        """Whether an allowed document has the word, of which ``passages`` says where it stands. Remembered for a filter."""
        limit = self._limit(allowed) if allowed is not None else None
        if limit is None:
            return True
        found = limit.words.get(word)
        if found is None:
            found = self._any(passages(word), limit)
            if len(limit.words) >= WORDS_KEPT:
                limit.words.clear()
            limit.words[word] = found
        return found

    def _any(self, query: Query, limit: Limit) -> bool:
        if len(limit.kept) in (0, len(self._present)):
            return bool(len(limit.kept))
        keys, _ = self._run(query, LOOKED_AT)
        good = bool(np.any(limit.kept.member(keys >> ORDINAL_BITS)))
        if good or len(keys) < LOOKED_AT:
            return good
        return len(self._run(Query.boolean_query([(Occur.Must, query), (Occur.Must, self._members(limit))]), 1)[0]) > 0

    def only(self, allowed: DocumentNumbers | None) -> Query | None:
        """A query that the passages of the allowed documents match; None where that is all of them."""
        limit = self._limit(allowed) if allowed is not None else None
        if limit is None or len(limit.kept) == len(self._present):
            return None
        if limit.share <= 0.5:
            return self._members(limit)
        if limit.others is None:
            others = Query.term_set_query(self._schema, "document", (self._present - limit.kept).array.tolist())
            limit.others = Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, others)])
        return limit.others

    def _run(self, query: Query, k: int) -> Found:
        if not self._size:
            return np.zeros(0, np.int64), np.zeros(0)
        hits = self._searcher.search(query, min(k, self._size), count=False).hits
        keys = self._searcher.fast_field_values("chunk", [address for _, address in hits])
        return np.array(keys, np.int64), np.array([score for score, _ in hits], np.float64)

    def _limit(self, allowed: DocumentNumbers) -> Limit:
        """Kept while ``allowed`` lives."""
        with self._lock:
            for ref, limit in self._limits:
                if ref() is allowed:
                    return limit
        kept = DocumentNumbers(self._present.array[allowed.member(self._present.array)])
        limit = Limit(kept, len(kept) / max(1, len(self._present)))
        with self._lock:
            alive = [each for each in self._limits if each[0]() is not None]
            self._limits = [(weakref.ref(allowed), limit), *alive][:FILTERS_KEPT]
        return limit

    def _members(self, limit: Limit) -> Query:
        if limit.query is None:
            terms = Query.term_set_query(self._schema, "document", limit.kept.array.tolist())
            limit.query = Query.const_score_query(terms, 0.0)
        return limit.query
