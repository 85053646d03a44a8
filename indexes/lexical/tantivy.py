"""Full text in Tantivy: BM25 over stemmed words, exact codes, title and file name."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from pathlib import Path

import tantivy
from tantivy import Occur, Query

from indexes.lexical.limit import LimitedSearch
from indexes.lexical.query import Clause, parse
from pipeline.documents import Chunk
from pipeline.errors import Refused
from pipeline.numbers import Numbers
from pipeline.questions import Hit, chunk_key

#: Letters, digits and the signs inside codes, from a letter or digit to a letter or digit: PPR-9087, 12.3, a@b.example.
CODE = r"[\p{L}\p{N}§](?:[\p{L}\p{N}._\-/@+#&]*[\p{L}\p{N}])?"
#: A hit in the title says more than one in the text, and an exact code more than its parts.
BOOSTS = {"text": 1.0, "code": 1.5, "title": 2.0, "name": 1.5}
_WORD = re.compile(r"[^\W_]+")

_PROSE = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.remove_long(60))
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.ascii_fold())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)
_CODES = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(CODE))
    .filter(tantivy.Filter.remove_long(120))
    .filter(tantivy.Filter.lowercase())
    .build()
)
ANALYSERS = {"text": _PROSE, "title": _PROSE, "name": _PROSE, "code": _CODES}


def schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("chunk", fast=True)
    builder.add_unsigned_field("document", indexed=True)
    for field in BOOSTS:
        builder.add_text_field(field, tokenizer_name="codes" if field == "code" else "prose", index_option="position")
    return builder.build()


SCHEMA = schema()


def open_index(folder: Path) -> tantivy.Index:
    """Open what is in ``folder``, or make an empty index there."""
    index = tantivy.Index(SCHEMA, path=str(folder))
    index.register_tokenizer("prose", _PROSE)
    index.register_tokenizer("codes", _CODES)
    return index


def add_document(
    writer: tantivy.IndexWriter, number: int, chunks: Sequence[Chunk], title: str | None, name: str
) -> None:
    """Replace the document's passages."""
    remove_document(writer, number)
    for chunk in chunks:
        row = tantivy.Document()
        row.add_unsigned("chunk", chunk_key(number, chunk.ordinal))
        row.add_unsigned("document", number)
        row.add_text("text", chunk.text)
        row.add_text("code", chunk.text)
        row.add_text("title", " ".join(filter(None, (title, chunk.heading))))
        row.add_text("name", name)
        writer.add_document(row)


def remove_document(writer: tantivy.IndexWriter, number: int) -> None:
    # By query: the binding's delete by term makes a signed term, which matches nothing in an unsigned field.
    writer.delete_documents_by_query(Query.term_query(SCHEMA, "document", number))


class TantivyLexical:
    """Implements `pipeline.ports.Lexical` over one immutable directory. ``numbers``: the documents in it."""

    def __init__(self, index: tantivy.Index, numbers: Collection[int]) -> None:
        self._searcher = index.searcher()
        self._limited = LimitedSearch(self._searcher, SCHEMA, Numbers.of(numbers))

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(self, query: str, k: int, allowed: Collection[int] | None) -> list[Hit]:
        asked = build(parse(query))
        if asked is None:
            return []
        keys, scores = self._limited.best(asked, k, Numbers.of(allowed) if allowed is not None else None)
        return [Hit(key, score) for key, score in zip(keys.tolist(), scores.tolist(), strict=True)]

    def highlights(self, query: str, text: str) -> tuple[tuple[int, int], ...]:
        """Where the query's words stand in ``text``: whole words with the same stem."""
        return highlights(query, text)


def build(clauses: Sequence[Clause]) -> Query | None:
    """The query over all fields; None when nothing is left of it after analysis."""
    parts = [(_occur(clause), query) for clause in clauses if (query := _clause_query(clause)) is not None]
    if not any(occur is not Occur.MustNot for occur, _ in parts):
        return None
    return Query.boolean_query(parts)


def _occur(clause: Clause) -> Occur:
    return {"": Occur.Should, "+": Occur.Must, "-": Occur.MustNot}[clause.sign]


def _clause_query(clause: Clause) -> Query | None:
    fields = (clause.field,) if clause.field else tuple(BOOSTS)
    per_field = [q for field in fields if (q := _field_query(field, clause.text)) is not None]
    if not per_field:
        return None
    return Query.disjunction_max_query(per_field, 0.1) if len(per_field) > 1 else per_field[0]


def _field_query(field: str, text: str) -> Query | None:
    terms = ANALYSERS[field].analyze(text)
    if not terms:
        return None
    # A word that analysis takes apart ("PPR-9087") is looked for as a phrase, like quoted words.
    one = len(terms) == 1
    query = Query.term_query(SCHEMA, field, terms[0]) if one else Query.phrase_query(SCHEMA, field, list(terms))
    return Query.boost_query(query, BOOSTS[field])


def highlights(query: str, text: str) -> tuple[tuple[int, int], ...]:
    """(start, end) offsets of whole words in ``text`` that share a stem with a word of the query."""
    try:
        clauses = parse(query)
    except Refused:
        return ()
    wanted = {stem(word) for c in clauses if c.sign != "-" for word in _WORD.findall(c.text)}
    return tuple((m.start(), m.end()) for m in _WORD.finditer(text) if stem(m.group()) in wanted)


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    terms = _PROSE.analyze(word)
    return terms[0] if terms else word.lower()
