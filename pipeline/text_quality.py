"""How readable a text is, before anything is predicted from it."""

from __future__ import annotations

import re

#: The quality is measured on at most this many characters.
SAMPLE = 100_000
#: A text with fewer letters in words is not readable, however clean: a page number is not content.
FEWEST_LETTERS = 12

_PART = re.compile(r"[^\W\d_]+|\d+")
_EDGE = re.compile(r"^[\W_]+|[\W_]+$")
_VOWEL = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿ]", re.IGNORECASE)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxzß]{6}", re.IGNORECASE)
_LATIN = re.compile(r"[a-zà-öø-ÿœß]", re.IGNORECASE)
_CAMEL = re.compile(r"[a-zà-öø-ÿ][A-ZÀ-ÖØ-Þ]")


def text_quality(text: str) -> float:
    """Return how readable a text is, 0.0 to 1.0.

    The share of its characters that belong to plausible words or numbers, lowered if there are hardly any words.
    Nothing and garbage are 0, prose is near 1, a table of numbers above 0.6.
    """
    total = long = short = numbers = 0
    if len(text) > SAMPLE:  # three pieces, so that a clean cover page does not hide a broken rest
        third, middle = SAMPLE // 3, len(text) // 2
        text = " ".join((text[:third], text[middle : middle + third], text[-third:]))
    for token in text.split():
        core = _EDGE.sub("", token)
        total += len(token)
        parts = _PART.findall(core)
        # Letters and digits in fast alternation are encoded bytes.
        if not core or len(parts) > max(5, len(core) // 3):
            continue
        if not all(part.isdigit() or _is_word(part) for part in parts):
            continue
        letters = sum(len(part) for part in parts if not part.isdigit())
        if not letters:
            numbers += len(token)
        elif letters > 2 or not core.isascii():
            long += len(token)
        else:
            short += len(token)
    if not total:
        return 0.0
    # Noise from a scanner is full of one- and two-letter "words"; in a language they never outweigh the others.
    good = long + numbers + min(short, long)
    return good / total * min(1.0, long / FEWEST_LETTERS)


def _is_word(word: str) -> bool:
    latin = len(_LATIN.findall(word))
    if latin < len(word):
        # Nothing is known about words of another script; but Latin letters do not mix with it.
        return latin == 0
    if len(word) > 30 or _CONSONANTS.search(word) or len(_CAMEL.findall(word)) > 2:
        return False
    return len(word) <= 3 or (word.isupper() and len(word) <= 6) or 0.1 <= len(_VOWEL.findall(word)) / len(word) <= 0.9
