"""The clauses of a query to a query of Tantivy.

A plain word counts by the field where it scores highest: a title's word that occurs in the text is not counted twice
(measured: docs/decisions/0024). Everything required, excluded or quoted is searched as a whole, in any of the fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import tantivy
from tantivy import FieldType, Occur, Query

from indexes.lexical.analysis import codes, folded, stem_variants
from indexes.lexical.match import default_distance, is_misspelt
from pipeline.function_words import ENGLISH, LANGUAGES, function_words, language_of
from pipeline.query import Clause

#: The weight of a word in a field, relative to the same word in the text.
BOOSTS = {"text": 1.0, "title": 0.5, "name": 0.5}
#: The weight of a prefix or a nearly spelt word in the fields that hold words as written, by the field of the clause.
WRITTEN = {
    "": {"code": 1.0, "parts": 1.0, "title_words": 0.5, "name_words": 0.5},
    "title": {"title_words": 0.5},
    "name": {"name_words": 0.5},
}
#: What an exact code adds to its parts.
CODE_BOOST = 0.5
#: A word that is only similar scores the same wherever it occurs: about as much as a fairly rare word.
LIKE_SCORE = 4.0
#: Words of one query that are also searched with other letters because they occur nowhere. Each costs a walk over the
#: index's words, and a text with more of them is in another language or in none.
MAX_MISSPELT = 8
#: Words that a prefix stands for are ranked like words up to this many; more count the same each.
MAX_EXPANDED = 64
#: A word in more chunks than this occurs in one that was not removed.
FREQUENT = 10_000
#: Words of which it is remembered whether they occur.
WORDS_KNOWN = 1024


class TantivyQueryBuilder:
    """Builds queries for one searcher, with stems of the languages that its index holds."""

    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema) -> None:
        self._searcher, self._schema = searcher, schema
        self._languages = tuple(
            language for language in LANGUAGES if searcher.num_docs and searcher.doc_freq("language", language)
        ) or (ENGLISH,)
        self._occurs: dict[str, bool] = {}

    def build(self, clauses: Sequence[Clause], is_known: Callable[[str], bool]) -> Query | None:
        """Build the query of clauses; None when nothing can match.

        A word of letters that is not known is searched as a misspelt one.
        """
        parts: list[tuple[Occur, Query]] = []
        misspelt_left = MAX_MISSPELT
        for clause, times in Counter(content_clauses(clauses, self._languages)).items():
            if clause.sign == "" and not clause.required:
                ranked = self._ranked(clause)
                if misspelt_left and is_misspelt(clause, is_known):
                    first = self._stems(clause.text)[:1]  # words nearly spelt like it, by their stems
                    distance = default_distance(clause.text)
                    ranked += [self._fuzzy("text", stems[0], distance) for stems in first if len(stems) == 1]
                    misspelt_left -= 1
                parts += [(Occur.Should, q if times == 1 else Query.boost_query(q, times)) for q in ranked]
                continue
            query = self.any_of(self._alternatives(clause))
            if query is not None:
                parts.append((Occur.MustNot if clause.sign == "-" else Occur.Must, query))
            elif clause.sign != "-":
                return None
        can_match = any(occur is not Occur.MustNot for occur, _ in parts)
        return Query.boolean_query(parts) if can_match else None

    def _ranked(self, clause: Clause) -> list[Query]:
        """Return queries that add the score of a clause that is not required."""
        if clause.kind == "prefix":
            return self._prefix(clause)
        if clause.kind == "like":
            return self._similar(clause)
        queries = self._best_field(clause.text)
        if clause.code:
            queries += [Query.boost_query(self.term("code", code), CODE_BOOST) for code in codes(clause.text)]
        return queries

    def _best_field(self, word: str) -> list[Query]:
        """Return a query that scores the parts of a word, in the field and by the stems that score highest."""
        queries = []
        for field, boost in BOOSTS.items():
            for stems in self._stems(word):
                query = self._sum([self.term(field, stem) for stem in stems])
                queries.append(query if boost == 1.0 else Query.boost_query(query, boost))
        return [Query.disjunction_max_query(queries, 0.0)] if queries else []

    def _stems(self, text: str) -> list[tuple[str, ...]]:
        return stem_variants(text, self._languages)

    def _alternatives(self, clause: Clause) -> list[Query]:
        """Return queries each of which matches the whole clause."""
        if clause.ranged:
            return [self._range(clause)]
        if clause.kind == "prefix":
            return self._prefix(clause)
        if clause.kind == "like":
            return self._similar(clause)
        queries = [
            Query.boost_query(self._phrase(field, stems), BOOSTS[field])
            for field in ((clause.field,) if clause.field else BOOSTS)
            for stems in self._stems(clause.text)
        ]
        exact = codes(clause.text)
        if clause.code and not clause.field and len(exact) == 1:
            queries.append(Query.boost_query(self.term("code", exact[0]), CODE_BOOST))
        return queries

    def _range(self, clause: Clause) -> Query:
        field, kind = ("numbers", FieldType.Float) if clause.kind == "number" else ("dates", FieldType.Integer)
        cast = float if clause.kind == "number" else int
        low, high = (None if bound is None else cast(bound) for bound in (clause.low, clause.high))
        return Query.range_query(self._schema, field, kind, low, high)

    def _prefix(self, clause: Clause) -> list[Query]:
        prefix, fields = folded(clause.text), WRITTEN[clause.field]
        queries = ((boost, query) for field, boost in fields.items() for query in self.starting_with(field, prefix))
        return [query if boost == 1.0 else Query.boost_query(query, boost) for boost, query in queries]

    def starting_with(self, field: str, prefix: str) -> list[Query]:
        """Return queries that match the field's terms with this prefix; one for all of them where they are many."""
        terms = [term for term, _ in self._searcher.terms_with_prefix(field, prefix, limit=MAX_EXPANDED + 1)]
        if len(terms) > MAX_EXPANDED:
            return [Query.fuzzy_term_query(self._schema, field, prefix, 0, True, True)]
        return [self.term(field, term) for term in terms]

    def in_fields(self, word: str, fields: Sequence[str]) -> Query | None:
        """Return a query for the whole word in one of the fields, by any language's stems; None without a word."""
        return self.any_of(self._phrase(field, stems) for field in fields for stems in self._stems(word))

    def _similar(self, clause: Clause) -> list[Query]:
        distance = clause.distance or default_distance(clause.text)
        return [self._fuzzy(field, folded(clause.text), distance) for field in WRITTEN[clause.field]]

    def _fuzzy(self, field: str, word: str, distance: int) -> Query:
        return Query.const_score_query(
            Query.fuzzy_term_query(self._schema, field, word, distance, True, False), LIKE_SCORE
        )

    def is_known(self, word: str) -> bool:
        """Return True if a word of letters occurs in any chunk. Remembered: each passage of a page asks again."""
        occurs = self._occurs.get(word)
        if occurs is None:
            counts = [self._searcher.doc_freq(field, stems[0]) for stems in self._stems(word) for field in BOOSTS]
            occurs = any(counts)
            if occurs and max(counts) <= FREQUENT:  # the counts include removed chunks
                occurs = bool(self._searcher.search(self.with_word(word), 1, count=False).hits)
            if len(self._occurs) >= WORDS_KNOWN:
                self._occurs.clear()
            self._occurs[word] = occurs
        return occurs

    def with_word(self, word: str) -> Query:
        """Return a query for the chunks in which a word of letters occurs that has a stem."""
        terms = [self.term(field, stems[0]) for stems in self._stems(word) for field in BOOSTS]
        return Query.boolean_query([(Occur.Should, term) for term in terms])

    def term(self, field: str, term: str) -> Query:
        """Return a query for chunks with this term of the index in the field."""
        return Query.term_query(self._schema, field, term)

    def _phrase(self, field: str, terms: Sequence[str]) -> Query:
        return self.term(field, terms[0]) if len(terms) == 1 else Query.phrase_query(self._schema, field, list(terms))

    def _sum(self, queries: Sequence[Query]) -> Query:
        return queries[0] if len(queries) == 1 else Query.boolean_query([(Occur.Should, query) for query in queries])

    def any_of(self, queries: Iterable[Query]) -> Query | None:
        """Return a query that matches where one of the alternatives does; None where there are none."""
        alternatives = list(queries)
        return self._sum(alternatives) if alternatives else None


def content_clauses(clauses: Sequence[Clause], languages: tuple[str, ...]) -> list[Clause]:
    """Return the clauses without function words of one of the languages, unless there is nothing else."""
    words = [c.text for c in clauses if c.kind == "word" and not c.required and not c.sign]
    function = function_words(words, language_of(" ".join(words), languages))
    if len(function) == len(clauses):
        return list(clauses)
    return [c for c in clauses if c.text not in function or c.kind != "word" or c.required or c.sign]
