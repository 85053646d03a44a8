"""Texts to terms: stemmed words by language, and codes as they are written. Every lexical backend can share it.

A passage's language is that of most of its function words, English where there are none; its stems are made by that
language's rules. A query is too short for that, so its words are looked for by the stems of every language that the
index holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import tantivy

#: Letters, digits and the signs inside codes, from a letter or digit to a letter or digit: PPR-9087, 12.3, a@b.example.
CODE = r"[\p{L}\p{N}§](?:[\p{L}\p{N}._\-/@+#&]*[\p{L}\p{N}])?"
ENGLISH = "english"
#: Function words: they tell the language and are not looked for where the query holds anything else.
STOP_WORDS: dict[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        ENGLISH: "a about all also am an and any are as at be been being between both but by can could did do does doing for "
        "from had has have having he her here his how i if in into is it its may me might more most must my no nor not of on "
        "or other our out over shall she should so some such than that the their them then there these they this those to "
        "under up us was we were what when where whether which while who whom whose why will with within would you your",
        "german": "aber als am an auch auf aus bei bin bis da das dass dem den der des die dies diese dieser dieses doch du "
        "durch ein eine einem einen einer eines er es für gegen hat haben hatte ich ihr ihre im in ist ja kann kein keine "
        "man mit nach nicht noch nur ob oder ohne sein seine sich sie sind so über um und uns unter vom von vor war was "
        "wenn wer werden wie wir wird wo wurde zu zum zur",
        "french": "à au aux avec ce ces cet cette comme dans de des du elle en entre est et été être il ils je la le les leur "
        "leurs lui mais ne nos notre nous on ont ou où par pas pour plus qu que quel quelle qui sa sans se ses si son sont "
        "sous sur un une vos votre vous",
        "spanish": "al ante como con cuando de del desde donde el ella en entre era es esta este esto fue ha hasta hay la las "
        "le les lo los mas me mi muy no nos o para pero por que quien se sin sobre su sus también un una uno y ya",
        "italian": "agli ai al alla alle anche che chi ci come con cui da dal dalla degli dei del della delle di e è era gli "
        "ha hanno i il in la le lo ma nei nel nella non o per perché più quale quando questa questo se si sono su sua sul "
        "sulla suo tra un una uno",
        "dutch": "aan als bij dan dat de deze die dit door een en er geen haar heeft het hij hoe hun ik in is je kan maar met "
        "naar niet nog of om onder ook op over te tot uit van voor waar was wat we werd wie wij worden wordt zijn zo zou",
        "portuguese": "à ao aos às até com como da das de do dos e é ela ele em entre era essa esse esta este foi há isso mais "
        "mas na não nas no nos o os ou para pela pelo por quando que quem se sem ser seu sua são também um uma",
        "swedish": "alla att av de den denna det detta där efter eller en ett från för har hon hur här i inte kan man med men "
        "mot när och om på som sin till under upp ut vad var vid vi är över",
    }.items()
}
LANGUAGES = tuple(STOP_WORDS)
#: Function word -> the languages that have it. Single letters tell nothing: they are initials as well.
_SPOKEN_IN: dict[str, tuple[str, ...]] = {
    word: tuple(language for language in LANGUAGES if word in STOP_WORDS[language])
    for word in frozenset().union(*STOP_WORDS.values())
    if len(word) > 1
}
#: Scripts that write no spaces: every character is a word, and a word of the query a phrase of them.
_UNSPACED = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f])")
_WORD = re.compile(r"[^\W_]+")
#: Characters of a text that are looked at to tell its language.
_SAMPLE = 2000

_STEMS = {
    language: tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.remove_long(60))
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.stemmer(language))
    .filter(tantivy.Filter.ascii_fold())
    .build()
    for language in LANGUAGES
}
#: `CODE` where all is ASCII.
_ASCII_CODE = re.compile(r"[A-Za-z0-9]+(?:[._\-/@+#&]+[A-Za-z0-9]+)*")
#: Bytes from which on nobody looks for a code.
_LONGEST_CODE = 120
_CODES = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.regex(CODE))
    .filter(tantivy.Filter.remove_long(_LONGEST_CODE))
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.ascii_fold())
    .build()
)

_WORDS = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.remove_long(60))
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.ascii_fold())
    .build()
)


_FOLDED = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.ascii_fold())
    .build()
)


def folded(text: str) -> str:
    """In lower case and without accents, as terms are."""
    if text.isascii():  # most are, and it is the same
        return text.lower()
    return "".join(_FOLDED.analyze(text))


def language_of(text: str, among: tuple[str, ...] = LANGUAGES) -> str:
    """The language whose function words are most frequent; English where none is."""
    telling = filter(None, map(_SPOKEN_IN.get, _WORD.findall(text[:_SAMPLE].lower())))
    counts = Counter(language for languages in telling for language in languages if language in among)
    return max(counts, key=lambda language: (counts[language], language == ENGLISH), default=ENGLISH)


def _spaced(text: str) -> str:
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text)


def stems(text: str, language: str = ENGLISH) -> list[str]:
    """The text's words, in order, without case, accents and endings."""
    return _STEMS[language].analyze(_spaced(text))


def codes(text: str) -> list[str]:
    """The text's words and codes as they are written, in lower case: "ppr-9087", "12.3", "ana@example.org"."""
    if text.isascii():  # four times as quick as Tantivy's, and the same
        return [code.lower() for code in _ASCII_CODE.findall(text) if len(code) < _LONGEST_CODE]
    return _CODES.analyze(_spaced(text))


def words(text: str) -> list[str]:
    """The text's words, in order, without case and accents, with their endings: codes fall into their parts."""
    return _WORDS.analyze(_spaced(text))


def parts(found: Sequence[str]) -> list[str]:
    """The words inside those `codes` that hold signs, each once, without those that are codes themselves."""
    held = set(found)
    inside = (word for code in found if not code.isalnum() for word in _WORD.findall(code))
    return list(dict.fromkeys(word for word in inside if word not in held))


def written(text: str) -> list[str]:
    """Its codes and their parts, each once: what a prefix or a misspelt word is held against."""
    found = list(dict.fromkeys(codes(text)))
    return [*found, *parts(found)]


@lru_cache(maxsize=50_000)
def stem(word: str, language: str = ENGLISH) -> str:
    """Of one word."""
    found = stems(word, language)
    return found[0] if found else word.lower()


def function_words(words: Sequence[str], language: str) -> list[str]:
    """Those of the words that only hold a sentence of the language together."""
    return [word for word in words if word.strip(".,;:!?()[]{}'\"").lower() in STOP_WORDS[language]]


def content_words(words: Sequence[str], language: str) -> list[str]:
    """The words without the language's function words; all of them where nothing else would be left."""
    function = set(function_words(words, language))
    return [word for word in words if word not in function] or list(words)
