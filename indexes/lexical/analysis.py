"""Texts to terms: stemmed words by language, and codes as they are written. Shared by every lexical backend.

A chunk's language is the one of most of its function words, English where there are none; its words are stemmed by that
language's rules. A query is too short for that, so its words are searched by the stems of every language of the index.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import tantivy

#: Letters, digits and the signs inside codes, from a letter or digit to a letter or digit: PPR-9087, 12.3, a@b.example.
CODE = r"[\p{L}\p{N}§](?:[\p{L}\p{N}._\-/@+#&]*[\p{L}\p{N}])?"
ENGLISH = "english"
#: Function words: they show the language, and are not searched for if the query has any other word.
STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        ENGLISH: "a about all also am an and any are as at be been being between both but by can could did do does "
        "doing for from had has have having he her here his how i if in into is it its may me might more most must my "
        "no nor not of on or other our out over shall she should so some such than that the their them then there "
        "these they this those to under up us was we were what when where whether which while who whom whose why will "
        "with within would you your",
        "german": "aber als am an auch auf aus bei bin bis da das dass dem den der des die dies diese dieser dieses "
        "doch du durch ein eine einem einen einer eines er es für gegen hat haben hatte ich ihr ihre im in ist ja "
        "kann kein keine man mit nach nicht noch nur ob oder ohne sein seine sich sie sind so über um und uns unter "
        "vom von vor war was wenn wer werden wie wir wird wo wurde zu zum zur",
        "french": "à au aux avec ce ces cet cette comme dans de des du elle en entre est et été être il ils je la le "
        "les leur leurs lui mais ne nos notre nous on ont ou où par pas pour plus qu que quel quelle qui sa sans se "
        "ses si son sont sous sur un une vos votre vous",
        "spanish": "al ante como con cuando de del desde donde el ella en entre era es esta este esto fue ha hasta "
        "hay la las le les lo los mas me mi muy no nos o para pero por que quien se sin sobre su sus también un una "
        "uno y ya",
        "italian": "agli ai al alla alle anche che chi ci come con cui da dal dalla degli dei del della delle di e è "
        "era gli ha hanno i il in la le lo ma nei nel nella non o per perché più quale quando questa questo se si "
        "sono su sua sul sulla suo tra un una uno",
        "dutch": "aan als bij dan dat de deze die dit door een en er geen haar heeft het hij hoe hun ik in is je kan "
        "maar met naar niet nog of om onder ook op over te tot uit van voor waar was wat we werd wie wij worden wordt "
        "zijn zo zou",
        "portuguese": "à ao aos às até com como da das de do dos e é ela ele em entre era essa esse esta este foi há "
        "isso mais mas na não nas no nos o os ou para pela pelo por quando que quem se sem ser seu sua são também um "
        "uma",
        "swedish": "alla att av de den denna det detta där efter eller en ett från för har hon hur här i inte kan man "
        "med men mot när och om på som sin till under upp ut vad var vid vi är över",
    }.items()
}
LANGUAGES = tuple(STOP_WORDS)
#: Function word -> the languages that have it. Single letters prove nothing: they are initials as well.
_LANGUAGES_OF: dict[str, tuple[str, ...]] = {
    word: tuple(language for language in LANGUAGES if word in STOP_WORDS[language])
    for word in frozenset[str]().union(*STOP_WORDS.values())
    if len(word) > 1
}
#: Scripts that write no spaces: every character is a word, and a word of the query a phrase of them.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f])")
_WORD = re.compile(r"[^\W_]+")
#: Characters of a text from which its language is recognised.
_SAMPLE = 2000
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


def language_of(text: str, among: tuple[str, ...] = LANGUAGES) -> str:
    """Return the language whose function words are most frequent; English where there are none."""
    function_words = filter(None, map(_LANGUAGES_OF.get, _WORD.findall(text[:_SAMPLE].lower())))
    counts = Counter(language for languages in function_words for language in languages if language in among)
    return max(counts, key=lambda language: (counts[language], language == ENGLISH), default=ENGLISH)


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


def function_words(words: Sequence[str], language: str) -> list[str]:
    """Return those of the words that are function words of the language."""
    return [word for word in words if word.strip(".,;:!?()[]{}'\"").lower() in STOP_WORDS[language]]


def content_words(words: Sequence[str], language: str) -> list[str]:
    """Return the words without the language's function words; all of them where nothing else would remain."""
    function = set(function_words(words, language))
    return [word for word in words if word not in function] or list(words)
