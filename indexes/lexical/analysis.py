"""Texts to terms: stemmed words by language, and codes as they are written. Shared by every lexical backend.

A chunk's language is the one of most of its function words, English where there are none; its words are stemmed by that
language's rules. A query is too short for that, so its words are searched by the stems of every language of the index.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import tantivy

from pipeline.function_words import ENGLISH, LANGUAGES

#: Letters, digits and the signs inside codes, from a letter or digit to a letter or digit: PPR-9087, 12.3, a@b.example.
CODE = r"[\p{L}\p{N}§](?:[\p{L}\p{N}._\-/@+#&]*[\p{L}\p{N}])?"
#: Scripts that write no spaces: every character is a word, and a word of the query a phrase of them.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f])")
_WORD = re.compile(r"[^\W_]+")
#: `CODE` where all is ASCII.
_ASCII_CODE = re.compile(r"[A-Za-z0-9]+(?:[._\-/@+#&]+[A-Za-z0-9]+)*")
#: Bytes: nobody searches for a word or a code as long as this.
_LONGEST_WORD, _LONGEST_CODE = 60, 120


def _analyser(tokenizer: tantivy.Tokenizer, *filters: tantivy.Filter) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tokenizer)
    for step in (*filters, tantivy.Filter.ascii_fold()):
        builder = builder.filter(step)
    return builder.build()


_LOWERCASE = tantivy.Filter.lowercase()
_SHORT_WORDS = tantivy.Filter.remove_long(_LONGEST_WORD)
_STEMS = {
    language: _analyser(tantivy.Tokenizer.simple(), _SHORT_WORDS, _LOWERCASE, tantivy.Filter.stemmer(language))
    for language in LANGUAGES
}
_CODES = _analyser(tantivy.Tokenizer.regex(CODE), tantivy.Filter.remove_long(_LONGEST_CODE), _LOWERCASE)
_WORDS = _analyser(tantivy.Tokenizer.simple(), _SHORT_WORDS, _LOWERCASE)
_FOLDED = _analyser(tantivy.Tokenizer.raw(), _LOWERCASE)


def folded(text: str) -> str:
    """Return the text in lower case and without accents, as terms are."""
    if text.isascii():  # most texts are, and the result is the same
        return text.lower()
    return "".join(_FOLDED.analyze(text))


def _spaced(text: str) -> str:
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


def stems(text: str, language: str = ENGLISH) -> list[str]:
    """Return the text's words in order, without case, accents and endings."""
    terms: list[str] = _STEMS[language].analyze(_spaced(text))
    return terms


def stem_variants(text: str, languages: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the stems of a text by the rules of each language, without repeats."""
    return list(dict.fromkeys(terms for language in languages if (terms := tuple(stems(text, language)))))


def codes(text: str) -> list[str]:
    """Return the text's words and codes in lower case, otherwise as written: "ppr-9087", "12.3", "ana@example.org"."""
    if text.isascii():  # four times as fast as Tantivy's, with the same result
        return [code.lower() for code in _ASCII_CODE.findall(text) if len(code) < _LONGEST_CODE]
    terms: list[str] = _CODES.analyze(_spaced(text))
    return terms


def words(text: str) -> list[str]:
    """Return the text's words in order with their endings, without case and accents; codes are split at their signs."""
    terms: list[str] = _WORDS.analyze(_spaced(text))
    return terms


def code_parts(terms: Sequence[str]) -> list[str]:
    """Return the words inside those `codes` that contain signs, without repeats and words that are codes too."""
    whole = set(terms)
    inside = (word for code in terms if not code.isalnum() for word in _WORD.findall(code))
    return list(dict.fromkeys(word for word in inside if word not in whole))


def as_written(text: str) -> list[str]:
    """Return the text's `codes` and `code_parts` without repeats; prefixes and misspelt words match these."""
    terms = list(dict.fromkeys(codes(text)))
    return [*terms, *code_parts(terms)]


@lru_cache(maxsize=50_000)
def stem(word: str, language: str = ENGLISH) -> str:
    """Return the stem of one word; the word in lower case where it has none."""
    terms = stems(word, language)
    return terms[0] if terms else word.lower()
