"""The clauses of a query to a query of Milvus: tokens to rank by, and what is required or excluded.

The server matches words, not their order: for a phrase it is asked for all words, and their order is checked
afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from indexes.lexical.analysis import codes, folded, stem_variants
from indexes.lexical.build import MAX_MISSPELT, content_clauses
from indexes.lexical.completion import shorter_stems
from indexes.lexical.match import contains_phrase, default_distance, is_misspelt
from indexes.milvus.tokens import first_group, range_tokens, token
from indexes.milvus.vocabulary import Vocabulary
from pipeline.function_words import ALL_FUNCTION_WORDS
from pipeline.query import Clause

TITLE_FIELDS = ("title", "name")
FIELDS = ("text", *TITLE_FIELDS)


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """Tokens in one field of a chunk: all of them side by side, or with ``any`` at least one."""

    field: str
    tokens: tuple[str, ...]
    any: bool = False

    @property
    def exact(self) -> bool:
        """True where the server's answer needs no check of the order."""
        return self.any or len(self.tokens) == 1

    @property
    def expression(self) -> str:
        """Milvus's filter expression; where not `exact` it also accepts the tokens in another order."""
        if self.any:
            return f"text_match({self.field}, '{' '.join(self.tokens)}')"
        parts = (f"text_match({self.field}, '{token}')" for token in dict.fromkeys(self.tokens))
        return f"({' and '.join(parts)})"

    def accepts(self, row: Mapping[str, str]) -> bool:
        """Return True if the row's field has one of the tokens, or with `any` False all of them side by side."""
        if self.any:
            return not set(self.tokens).isdisjoint(row[self.field].split())
        return contains_phrase(first_group(row[self.field]), self.tokens)


@dataclass(slots=True)
class MilvusQuery:
    """What Milvus is asked.

    ``text`` and ``code``: tokens to rank by in these fields. Each of ``required`` is a list of alternatives of which
    one must match; nothing in ``excluded`` may. ``impossible``: something required can match nowhere.
    """

    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    required: list[list[FieldMatch]] = field(default_factory=list)
    excluded: list[list[FieldMatch]] = field(default_factory=list)
    impossible: bool = False

    @property
    def expression(self) -> str:
        """Milvus's filter expression; empty where nothing is required or excluded."""
        parts = ["(" + " or ".join(match.expression for match in matches) + ")" for matches in self.required]
        parts += [f"not {match.expression}" for matches in self.excluded for match in matches if match.exact]
        return " and ".join(parts)

    @property
    def fields_to_check(self) -> tuple[str, ...]:
        """Fields that `accepts` has to check after the search; empty where the server's answer is exact."""
        matches = [match for alternatives in (*self.required, *self.excluded) for match in alternatives]
        if all(match.exact for match in matches):
            return ()
        return tuple(dict.fromkeys(match.field for match in matches))

    def accepts(self, row: Mapping[str, str]) -> bool:
        """Return True if the row has all that is required and nothing that is excluded, in order."""
        return all(any(match.accepts(row) for match in matches) for matches in self.required) and not any(
            match.accepts(row) for matches in self.excluded for match in matches
        )


class MilvusQueryBuilder:
    """Builds queries against one index's vocabulary. ``languages``: those of its chunks."""

    def __init__(self, vocabulary: Vocabulary, languages: Sequence[str]) -> None:
        self._vocabulary, self._languages = vocabulary, tuple(languages)

    def build(self, clauses: Sequence[Clause], is_known: Callable[[str], bool]) -> MilvusQuery:
        """Build the query of clauses. A word of letters that is not known is searched as a misspelt one."""
        query, misspelt_left = MilvusQuery(), MAX_MISSPELT
        for clause, times in Counter(content_clauses(clauses, self._languages)).items():
            if clause.sign == "-":
                query.excluded.append(self._alternatives(clause))
                continue
            if clause.required:
                alternatives = self._alternatives(clause)
                query.required.append(alternatives)
                query.impossible |= not alternatives
            misspelt = bool(misspelt_left) and not clause.required and is_misspelt(clause, is_known)
            misspelt_left -= misspelt
            self._rank(query, clause, times, misspelt)
        return query

    def completions(self, before: Sequence[str], tokens: tuple[str, ...]) -> MilvusQuery:
        """Build a query for chunks that have one of the tokens as written, and the words ``before``."""
        needed = [self._alternatives(Clause(word)) for word in before if word not in ALL_FUNCTION_WORDS]
        return MilvusQuery(required=[[FieldMatch("code", tokens, any=True)], *needed], impossible=not all(needed))

    def titled(self, complete: Sequence[str], last: str) -> MilvusQuery:
        """Build a query for chunks whose title or file name may have the words and one that begins with ``last``."""
        needed = [
            [FieldMatch(name, tuple(map(token, stems))) for name in TITLE_FIELDS for stems in self._stems(word)]
            for word in complete
        ]
        if last:
            terms = [*self._vocabulary.starting_with(last), *shorter_stems(last)]
            terms += [stem for stems in self._stems(last) for stem in stems]
            tokens = tuple(dict.fromkeys(map(token, terms)))
            needed.append([FieldMatch(name, tokens, any=True) for name in TITLE_FIELDS])
        return MilvusQuery(required=needed, impossible=not all(needed))

    def is_known(self, word: str) -> bool:
        """Return True if a word of letters occurs in any chunk."""
        first_stems = [stems[0] for stems in self._stems(word)]
        return bool(first_stems) and self._vocabulary.knows_any(first_stems)

    def with_word(self, word: str) -> MilvusQuery:
        """Build a query for the chunks in which a word of letters occurs."""
        matches = [FieldMatch(name, (token(stems[0]),)) for stems in self._stems(word) for name in FIELDS]
        return MilvusQuery(required=[matches], impossible=not matches)

    def _rank(self, query: MilvusQuery, clause: Clause, times: int, misspelt: bool) -> None:
        if clause.ranged:
            return
        if clause.kind in ("prefix", "like"):
            query.code += map(token, self._expanded(clause))
            return
        terms = list(dict.fromkeys(stem for stems in self._stems(clause.text) for stem in stems))
        if misspelt:
            for stems in self._stems(clause.text)[:1]:
                terms += self._vocabulary.similar(stems[0], default_distance(clause.text))
        query.text += times * list(map(token, terms))
        if clause.code:
            query.code += map(token, codes(clause.text))

    def _stems(self, text: str) -> list[tuple[str, ...]]:
        return stem_variants(text, self._languages)

    def _alternatives(self, clause: Clause) -> list[FieldMatch]:
        """Return matches each of which stands for the whole clause."""
        if clause.ranged:
            return [FieldMatch("figures", tuple(range_tokens(clause.kind, clause.low, clause.high)), any=True)]
        if clause.kind in ("prefix", "like"):
            tokens = tuple(map(token, self._expanded(clause)))
            return [FieldMatch(clause.field or "code", tokens, any=True)] if tokens else []
        variants = [tuple(map(token, stems)) for stems in self._stems(clause.text)]
        fields = (clause.field,) if clause.field else FIELDS
        matches = [FieldMatch(name, tokens) for name in fields for tokens in variants]
        exact = codes(clause.text)
        if clause.code and not clause.field and len(exact) == 1:
            matches.append(FieldMatch("code", (token(exact[0]),)))
        return matches

    def _expanded(self, clause: Clause) -> list[str]:
        """Return the index's words that a prefix or a nearly spelt word stands for."""
        if clause.kind == "prefix":
            return self._vocabulary.starting_with(folded(clause.text))
        return self._vocabulary.similar(folded(clause.text), clause.distance or default_distance(clause.text))
