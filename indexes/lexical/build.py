"""The clauses of a query to a query of Tantivy.

A plain word counts by the field where it says most: a title's word that stands in the text is not counted twice (measured:
docs/decisions/0024). Everything required, excluded or quoted is looked for as a whole, in any of the fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import tantivy
from tantivy import FieldType, Occur, Query

from indexes.lexical.analysis import ENGLISH, LANGUAGES, codes, folded, function_words, language_of, stems
from indexes.lexical.match import is_misspelt, letters_off
from pipeline.query import Clause

#: What a word in a field weighs beside the same word in the text.
BOOSTS = {"text": 1.0, "title": 0.5, "name": 0.5}
#: What a prefix or a word nearly spelt weighs in the fields that hold words as they are written, by the field asked for.
WRITTEN = {
    "": {"code": 1.0, "parts": 1.0, "title_words": 0.5, "name_words": 0.5},
    "title": {"title_words": 0.5},
    "name": {"name_words": 0.5},
}
#: What an exact code adds to its parts.
CODE_BOOST = 0.5
#: A word that is only like the wanted one scores the same wherever it stands: about as much as a fairly rare word.
LIKE_SCORE = 4.0
#: Words of one query that are looked for with other letters because they occur nowhere; each costs a walk over the index's
#: words, and a text with more of them is of another language or none.
MAX_MISSPELT = 8
#: Words that a prefix stands for are ranked like words up to this many; more count the same each.
MAX_EXPANDED = 64
#: Words of which it is remembered whether they stand anywhere.
WORDS_KNOWN = 1024


class Builder:
    """Builds queries for one searcher. ``languages``: those that the index holds."""

    def __init__(self, searcher: tantivy.Searcher, schema: tantivy.Schema) -> None:
        self._searcher, self._schema = searcher, schema
        held = tuple(each for each in LANGUAGES if searcher.num_docs and searcher.doc_freq("language", each))
        self._languages = held or (ENGLISH,)
        self._known: dict[str, bool] = {}

    def build(self, clauses: Sequence[Clause], known: Callable[[str], bool]) -> Query | None:
        """None when nothing is left to look for, or when something that is required has no word in it. A word that is not
        ``known`` is taken for a misspelt one."""
        parts: list[tuple[Occur, Query]] = []
        patience = MAX_MISSPELT
        for clause, times in Counter(self._content(clauses)).items():
            if clause.sign == "" and not clause.required:
                soft = self._soft(clause)
                if patience and is_misspelt(clause, known):
                    soft += self._misspelt(clause.text)
                    patience -= 1
                parts += [(Occur.Should, q if times == 1 else Query.boost_query(q, times)) for q in soft]
                continue
            query = self.either(self._whole(clause))
            if query is not None:
                parts.append((Occur.MustNot if clause.sign == "-" else Occur.Must, query))
            elif clause.sign != "-":
                return None
        wanted = any(occur is not Occur.MustNot for occur, _ in parts)
        return Query.boolean_query(parts) if wanted else None

    def _content(self, clauses: Sequence[Clause]) -> list[Clause]:
        """Without function words, unless there is nothing else."""
        words = [c.text for c in clauses if c.kind == "word" and not c.required and not c.sign]
        function = function_words(words, language_of(" ".join(words), self._languages))
        if len(function) == len(clauses):
            return list(clauses)
        return [c for c in clauses if c.text not in function or c.kind != "word" or c.required or c.sign]

    def _soft(self, clause: Clause) -> list[Query]:
        """What a plain word adds to the score."""
        if clause.kind == "prefix":
            return self._prefix(clause)
        if clause.kind == "like":
            return self._like(clause)
        found = self._split(clause.text)
        if clause.code:
            found += [Query.boost_query(self.term("code", code), CODE_BOOST) for code in codes(clause.text)]
        return found

    def _split(self, word: str) -> list[Query]:
        """Every part of the word, in the field and by the language's stems that say most."""
        found = []
        for field, boost in BOOSTS.items():
            for way in self._ways(word):
                query = self._sum([self.term(field, stem) for stem in way])
                found.append(query if boost == 1.0 else Query.boost_query(query, boost))
        return [Query.disjunction_max_query(found, 0.0)] if found else []

    def _ways(self, text: str) -> list[tuple[str, ...]]:
        """The stems of a text by each language of the index, each way once."""
        return list(dict.fromkeys(way for each in self._languages if (way := tuple(stems(text, each)))))

    def _whole(self, clause: Clause) -> list[Query]:
        """Alternatives, each of them the whole clause."""
        if clause.ranged:
            return [self._range(clause)]
        if clause.kind == "prefix":
            return self._prefix(clause)
        if clause.kind == "like":
            return self._like(clause)
        found = [
            Query.boost_query(self._phrase(field, way), BOOSTS[field])
            for field in self._fields(clause)
            for way in self._ways(clause.text)
        ]
        exact = codes(clause.text)
        if clause.code and not clause.field and len(exact) == 1:
            found.append(Query.boost_query(self.term("code", exact[0]), CODE_BOOST))
        return found

    def _fields(self, clause: Clause) -> tuple[str, ...]:
        return (clause.field,) if clause.field else tuple(BOOSTS)

    def _range(self, clause: Clause) -> Query:
        field, kind = ("numbers", FieldType.Float) if clause.kind == "number" else ("dates", FieldType.Integer)
        cast = float if clause.kind == "number" else int
        low, high = (None if bound is None else cast(bound) for bound in (clause.low, clause.high))
        return Query.range_query(self._schema, field, kind, low, high)

    def _prefix(self, clause: Clause) -> list[Query]:
        start, fields = folded(clause.text), WRITTEN[clause.field]
        found = ((boost, query) for field, boost in fields.items() for query in self.begun(field, start))
        return [query if boost == 1.0 else Query.boost_query(query, boost) for boost, query in found]

    def begun(self, field: str, start: str) -> list[Query]:
        """Alternatives: the field's terms that begin so."""
        words = [word for word, _ in self._searcher.terms_with_prefix(field, start, limit=MAX_EXPANDED + 1)]
        if len(words) > MAX_EXPANDED:
            return [Query.fuzzy_term_query(self._schema, field, start, 0, True, True)]
        return [self.term(field, word) for word in words]

    def anywhere(self, word: str, fields: Sequence[str]) -> Query | None:
        """The whole word in one of the fields, by the stems of any language; None for what is no word."""
        return self.either(self._phrase(field, way) for field in fields for way in self._ways(word))

    def _like(self, clause: Clause) -> list[Query]:
        distance = clause.distance or letters_off(clause.text)
        return [self._fuzzy(field, folded(clause.text), distance) for field in WRITTEN[clause.field]]

    def _misspelt(self, word: str) -> list[Query]:
        """The words that are nearly it, by their stems."""
        return [self._fuzzy("text", way[0], letters_off(word)) for way in self._ways(word)[:1] if len(way) == 1]

    def _fuzzy(self, field: str, word: str, distance: int) -> Query:
        return Query.const_score_query(
            Query.fuzzy_term_query(self._schema, field, word, distance, True, False), LIKE_SCORE
        )

    def knows(self, word: str) -> bool:
        """Whether a word of letters stands in any text. Remembered: it is asked for again with each passage of a page."""
        known = self._known.get(word)
        if known is None:
            known = any(self._searcher.doc_freq(field, way[0]) for way in self._ways(word) for field in BOOSTS)
            if len(self._known) >= WORDS_KNOWN:
                self._known.clear()
            self._known[word] = known
        return known

    def holding(self, word: str) -> Query:
        """Passages in which a word of letters stands, which the index `knows`."""
        terms = [self.term(field, way[0]) for way in self._ways(word) for field in BOOSTS]
        return Query.boolean_query([(Occur.Should, term) for term in terms])

    def term(self, field: str, term: str) -> Query:
        """Passages that have the term, as the index has it, in the field."""
        return Query.term_query(self._schema, field, term)

    def _phrase(self, field: str, terms: Sequence[str]) -> Query:
        return self.term(field, terms[0]) if len(terms) == 1 else Query.phrase_query(self._schema, field, list(terms))

    def _sum(self, queries: Sequence[Query]) -> Query:
        return queries[0] if len(queries) == 1 else Query.boolean_query([(Occur.Should, query) for query in queries])

    def either(self, queries: Iterable[Query]) -> Query | None:
        """Alternatives; None where there are none."""
        found = list(queries)
        return self._sum(found) if found else None
