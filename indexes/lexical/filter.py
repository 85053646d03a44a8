"""Filters in Tantivy, which has no bitmap filter: a list of the allowed documents' terms where it is short, reading
further hits where most documents are allowed. Either way the result is that of a search over the allowed documents
alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tantivy
from tantivy import Occur, Query

from indexes.filter_cache import FilterCache
from pipeline.document_numbers import DocumentNumbers
from pipeline.questions import ORDINAL_BITS, Hits

#: Where more than this share of the documents is allowed, hits are read and the others left out.
WIDE_SHARE = 0.25
#: Hits read beyond the expected number, so that a second search is rare.
MARGIN, SPARE = 1.2, 64
#: Chunks that have a word, read until one is allowed; beyond them the filter becomes part of the query.
WORD_HITS_READ = 512
#: Words whose answer is kept for a filter.
WORDS_KEPT = 4096


@dataclass(slots=True)
class Restriction:
    """What a filter means for one index.

    ``documents``: those of the index that are allowed; ``share``: of all documents of the index. ``members`` matches
    their chunks; ``others`` does so by excluding the rest; both are built when first needed. ``has_word`` keeps
    answers.
    """

    documents: DocumentNumbers
    share: float
    members: Query | None = None
    others: Query | None = None
    has_word: dict[str, bool] = field(default_factory=dict)


class FilteredSearch:
    """Searches one index for the best hits among allowed documents. ``present``: the documents of the index."""

    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema, present: DocumentNumbers) -> None:
        self._searcher, self._schema, self._present = searcher, schema, present
        self._size = int(searcher.num_docs)
        self._restrictions: FilterCache[Restriction] = FilterCache()

    def best(self, query: Query, k: int, allowed: DocumentNumbers | None, wide: float = WIDE_SHARE) -> Hits:
        """Return the ``k`` best hits, best first.

        ``wide``: the share from which on hits are read and forbidden ones left out; a smaller one pays for few hits.
        """
        restriction = self._restrictions.get(allowed, self._restriction) if allowed is not None else None
        if restriction is None or len(restriction.documents) == len(self._present):
            return self._run(query, k)
        if not len(restriction.documents):
            return Hits(np.zeros(0, np.int64), np.zeros(0))
        if restriction.share > wide:
            limit = int(k / restriction.share * MARGIN) + SPARE
            hits = self._run(query, limit)
            permitted = restriction.documents.member(hits.keys >> ORDINAL_BITS)
            if len(hits) < limit or np.count_nonzero(permitted) >= k:
                return Hits(hits.keys[permitted][:k], hits.scores[permitted][:k])
        return self._run(self._and_members(query, restriction), k)

    def has_word(self, word: str, chunks_with: Callable[[str], Query], allowed: DocumentNumbers | None) -> bool:
        """Return True if an allowed document has the word, whose chunks ``chunks_with`` matches. Kept for a filter."""
        restriction = self._restrictions.get(allowed, self._restriction) if allowed is not None else None
        if restriction is None:
            return True
        answer = restriction.has_word.get(word)
        if answer is None:
            answer = self._any(chunks_with(word), restriction)
            if len(restriction.has_word) >= WORDS_KEPT:
                restriction.has_word.clear()
            restriction.has_word[word] = answer
        return answer

    def _any(self, query: Query, restriction: Restriction) -> bool:
        if len(restriction.documents) in (0, len(self._present)):
            return bool(len(restriction.documents))
        hits = self._run(query, WORD_HITS_READ)
        if np.any(restriction.documents.member(hits.keys >> ORDINAL_BITS)):
            return True
        return len(hits) == WORD_HITS_READ and len(self._run(self._and_members(query, restriction), 1)) > 0

    def only(self, allowed: DocumentNumbers | None) -> Query | None:
        """Return a query that matches the chunks of the allowed documents; None where that is all of them."""
        restriction = self._restrictions.get(allowed, self._restriction) if allowed is not None else None
        if restriction is None or len(restriction.documents) == len(self._present):
            return None
        if restriction.share <= 0.5:
            return self._members(restriction)
        if restriction.others is None:
            forbidden = list(self._present - restriction.documents)
            others = Query.term_set_query(self._schema, "document", forbidden)
            restriction.others = Query.boolean_query([(Occur.Must, Query.all_query()), (Occur.MustNot, others)])
        return restriction.others

    def _run(self, query: Query, k: int) -> Hits:
        if not self._size:
            return Hits(np.zeros(0, np.int64), np.zeros(0))
        rows = self._searcher.search(query, min(k, self._size), count=False).hits
        keys = self._searcher.fast_field_values("chunk", [address for _, address in rows])
        return Hits(np.array(keys, np.int64), np.array([score for score, _ in rows], np.float64))

    def _restriction(self, allowed: DocumentNumbers) -> Restriction:
        """Derive what a filter means for this index."""
        documents = self._present & allowed
        return Restriction(documents, len(documents) / max(1, len(self._present)))

    def _and_members(self, query: Query, restriction: Restriction) -> Query:
        return Query.boolean_query([(Occur.Must, query), (Occur.Must, self._members(restriction))])

    def _members(self, restriction: Restriction) -> Query:
        if restriction.members is None:
            terms = Query.term_set_query(self._schema, "document", list(restriction.documents))
            restriction.members = Query.const_score_query(terms, 0.0)
        return restriction.members
