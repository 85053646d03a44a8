"""The clauses of a query to what Milvus is asked: words to rank by, and what is required or excluded.

The server matches words, not their order: of a phrase it is asked for all words, and the order is looked at afterwards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from indexes.lexical.analysis import codes, folded, function_words, language_of, stems
from indexes.lexical.build import MAX_MISSPELT
from indexes.lexical.match import is_misspelt, letters_off, stands
from indexes.lexical.typed import FUNCTION_WORDS, shorter
from indexes.milvus.terms import range_tokens, token
from indexes.milvus.words import Words
from pipeline.query import Clause

NAMED = ("title", "name")
FIELDS = ("text", *NAMED)


@dataclass(frozen=True, slots=True)
class Way:
    """Tokens in a field: all of them side by side, or ``any`` of them."""

    field: str
    tokens: tuple[str, ...]
    any: bool = False

    @property
    def exact(self) -> bool:
        """Whether the server's answer needs no second look."""
        return self.any or len(self.tokens) == 1

    @property
    def expression(self) -> str:
        if self.any:
            return f"text_match({self.field}, '{' '.join(self.tokens)}')"
        return "(" + " and ".join(f"text_match({self.field}, '{each}')" for each in dict.fromkeys(self.tokens)) + ")"

    def holds(self, row: Mapping[str, str]) -> bool:
        held = row[self.field].split()
        return bool(set(self.tokens) & set(held)) if self.any else stands(self.tokens, held)


@dataclass(slots=True)
class Asked:
    """``text`` and ``code``: tokens to rank by in these fields. Every one of ``required`` and none of ``excluded`` must hold;
    each is alternatives. ``nothing``: something required can stand nowhere."""

    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    required: list[list[Way]] = field(default_factory=list)
    excluded: list[list[Way]] = field(default_factory=list)
    nothing: bool = False

    @property
    def expression(self) -> str:
        parts = ["(" + " or ".join(way.expression for way in ways) + ")" for ways in self.required]
        parts += [f"not {way.expression}" for ways in self.excluded for way in ways if way.exact]
        return " and ".join(parts)

    @property
    def looked_at(self) -> tuple[str, ...]:
        """Fields in which the order of words has to be looked at."""
        ways = [way for each in (*self.required, *self.excluded) for way in each]
        return tuple(dict.fromkeys(way.field for way in ways)) if not all(way.exact for way in ways) else ()

    def admits(self, row: Mapping[str, str]) -> bool:
        return all(any(way.holds(row) for way in ways) for ways in self.required) and not any(
            way.holds(row) for ways in self.excluded for way in ways
        )


class Builder:
    """``languages``: those that the index holds."""

    def __init__(self, words: Words, languages: Sequence[str]) -> None:
        self._words, self._languages = words, tuple(languages)

    def build(self, clauses: Sequence[Clause], known: Callable[[str], bool]) -> Asked:
        """A word that is not ``known`` is taken for a misspelt one."""
        asked, patience = Asked(), MAX_MISSPELT
        for clause, times in Counter(self._content(clauses)).items():
            if clause.sign == "-":
                asked.excluded.append(self._whole(clause))
                continue
            if clause.required:
                whole = self._whole(clause)
                asked.required.append(whole)
                asked.nothing |= not whole
            misspelt = bool(patience) and not clause.required and is_misspelt(clause, known)
            patience -= misspelt
            self._rank(asked, clause, times, misspelt)
        return asked

    def beginning(self, start: str) -> list[str]:
        """Words of the index that begin so, at most `words.EXPANDED`."""
        return self._words.beginning(start)

    def completed(self, before: Sequence[str], tokens: tuple[str, ...]) -> Asked:
        """Passages that have one of the tokens as it is written, and the words before it."""
        needed = [self._whole(Clause(word)) for word in before if word not in FUNCTION_WORDS]
        return Asked(required=[[Way("code", tokens, any=True)], *needed], nothing=not all(needed))

    def titled(self, complete: Sequence[str], last: str) -> Asked:
        """Passages whose title, heading or file name may have the words, and one that begins with the last."""
        needed = [
            [Way(name, tuple(map(token, way))) for name in NAMED for way in self._ways(word)] for word in complete
        ]
        if last:
            begun = [*self.beginning(last), *shorter(last), *(stem for way in self._ways(last) for stem in way)]
            needed.append([Way(name, tuple(dict.fromkeys(map(token, begun))), any=True) for name in NAMED])
        return Asked(required=needed, nothing=not all(needed))

    def knows(self, word: str) -> bool:
        """Whether a word of letters stands in any text."""
        ways = [way[0] for way in self._ways(word)]
        return bool(ways) and self._words.known(ways)

    def holding(self, word: str) -> Asked:
        """Passages in which a word of letters stands."""
        ways = [Way(name, (token(way[0]),)) for way in self._ways(word) for name in FIELDS]
        return Asked(required=[ways], nothing=not ways)

    def _content(self, clauses: Sequence[Clause]) -> list[Clause]:
        """Without function words, unless there is nothing else."""
        words = [c.text for c in clauses if c.kind == "word" and not c.required and not c.sign]
        function = function_words(words, language_of(" ".join(words), self._languages))
        if len(function) == len(clauses):
            return list(clauses)
        return [c for c in clauses if c.text not in function or c.kind != "word" or c.required or c.sign]

    def _rank(self, asked: Asked, clause: Clause, times: int, misspelt: bool) -> None:
        if clause.ranged:
            return
        if clause.kind in ("prefix", "like"):
            asked.code += map(token, self._expanded(clause))
            return
        found = list(dict.fromkeys(stem for way in self._ways(clause.text) for stem in way))
        if misspelt:
            found += [
                w for way in self._ways(clause.text)[:1] for w in self._words.like(way[0], letters_off(clause.text))
            ]
        asked.text += times * [token(each) for each in found]
        if clause.code:
            asked.code += map(token, codes(clause.text))

    def _ways(self, text: str) -> list[tuple[str, ...]]:
        """The stems of a text by each language of the index, each way once."""
        return list(dict.fromkeys(way for each in self._languages if (way := tuple(stems(text, each)))))

    def _whole(self, clause: Clause) -> list[Way]:
        """Alternatives, each of them the whole clause."""
        if clause.ranged:
            return [Way("figures", tuple(range_tokens(clause.kind, clause.low, clause.high)), any=True)]
        if clause.kind in ("prefix", "like"):
            words = tuple(map(token, self._expanded(clause)))
            return [Way(clause.field or "code", words, any=True)] if words else []
        ways = [tuple(map(token, way)) for way in self._ways(clause.text)]
        found = [Way(name, way) for name in ((clause.field,) if clause.field else FIELDS) for way in ways]
        exact = codes(clause.text)
        if clause.code and not clause.field and len(exact) == 1:
            found.append(Way("code", (token(exact[0]),)))
        return found

    def _expanded(self, clause: Clause) -> list[str]:
        """The index's words that a prefix, or a word nearly spelt, stands for."""
        if clause.kind == "prefix":
            return self._words.beginning(folded(clause.text))
        return self._words.like(folded(clause.text), clause.distance or letters_off(clause.text))
