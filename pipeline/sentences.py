"""Sentences with exact offsets: by rules, for the prose, lists, tables and clauses of office documents.

The rules are those of German, English, French, Spanish and Dutch; measured beside the libraries for it in
docs/decisions/0067. A doubtful point, as in "am 1. Januar" or "Acme Inc. The", ends a sentence only before a word that
begins sentences: a capitalised function word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.function_words import FUNCTION_WORDS, GERMAN, language_of

#: Titles before a name: a point after them never ends a sentence.
TITLES = frozenset(
    "dhr dipl dr dra dras drs ds excmo fr hrn jhr mej mevr mgr mlle mm mme mr mrs ms mw mx prof profa sr "
    "sra sras sres srta".split()
)
#: Abbreviations before a number or a letter: "no. 5", "art. L. 145-1". Elsewhere they are words like others.
REFERENCES = frozenset(
    "abb abs afb anl anm apdo art arts aufl cap caps ch chap doc ed eq fig figs kap lid lit no nos num núm núms pag "
    "pág págs par para paragr pos sec sect tab vol zif ziff".split()
)
#: At the end of an enumeration: they end a sentence before any capital letter.
AND_SO_ON = frozenset("enz etc usw".split())
#: Abbreviations with a vowel; those without one are recognised by that.
ABBREVIATIONS = frozenset(
    """
    aant abt adj adm afd afl afmo akt al alg allg anc ann ap appl approx appt aprox apt assn assoc asst att attn aug
    auss av avda ave az begr beil bes betr bez bijl bijv bijz boul bul bull burg ca cia cie civ co col coll coord
    corp cta cté cía dec dep dept dez dist div dto déc ebd ee eig einschl entspr entw env erg est etw evtl excl exkl
    ext fac feb febr fec fem févr geb gebr gegr gem gen gesch gest gez ggf gob gov govt gral hist hnos hon id impr
    inc incl indét inf ing inh inkl insb insbes inst int intl inv ir izq jan janv juil jul jun kath konst lic loc
    max mill min minn mio misc mo máx mär mín nac nat nov nro obs oct okt ong orig ov pct pl pol pref proc prov préf
    qual ref reg rel rep resp rev réf sen sep sept sig soc sog spéc sta ste stell stellv suiv sup supp tel telef
    temp tfno thu thur thurs tit trad tue tues tägl tél ud uds umg unbest ung univ urspr uu verg verm verw vid vorm
    wiss zit zus öff
    """.split()
)
#: Units are written without a point, so a point after a number with one ends the sentence.
UNITS = frozenset("cm dm ft gb hz kb kg km kwh kw lb mb mg min ml mm mw mwh ms tb".split())
#: A longer piece without an end mark is cut.
MAX_CHARS = 600
#: Characters read around an end mark: every decision is local, so that a long text takes linear time.
LOOK = 40
_END = re.compile(r"(?<![.!?…])[.!?…]++(?:\s?»)?[\"'”’“‘)\]»›]*+(?=\s)")
_LAST_WORD = re.compile(r"[\w.]+$")
#: The next word, and its point or apostrophe if it has one.
_NEXT_WORD = re.compile(r"[\s\"'“”„‚‘’«»‹›(\[¿¡]*([^\W_]+)([.'’]?)")
_OPENING_QUOTES = "\"'“”„‚‘’«‹"
_ROMAN_NUMBER = re.compile(r"[IVX]+")
_SHORT_DATE = re.compile(r"\d{1,2}\.\d{1,2}")
#: Short parts with letters: z.B, a.m, EE.UU.
_DOTTED = re.compile(r"(?:[^\W_]{1,2}\.)+[^\W\d_]{1,2}")
#: Std, Hrn or bldg, but no acronym.
_WITHOUT_VOWEL = re.compile(r"[B-DF-HJ-NP-TV-XZb-df-hj-np-tv-xz][b-df-hj-np-tv-xz]{1,4}")
_ITEM = re.compile(r"\s*(?:[-*•|#]|\(?\w{1,3}[.)]\s|§)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and its offsets in the text that was split: text[start:end] is the sentence."""

    text: str
    start: int
    end: int


def split_sentences(text: str) -> tuple[Sentence, ...]:
    """Return all sentences in order, without surrounding space.

    Lines joined inside a paragraph are one run of prose; blank lines, list marks and table rows end a sentence.
    """
    language = language_of(text)
    return tuple(s for start, end in _paragraphs(text) for s in _sentences(text, start, end, language))


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Return the runs of lines in which each continues the one before, as (start, end)."""
    paragraphs: list[tuple[int, int]] = []
    at, last = 0, ""
    for line in text.splitlines(keepends=True):
        start, end = at, at + len(line)
        at = end
        if not line.strip():
            continue
        if paragraphs and paragraphs[-1][1] == start and _continues(last.rstrip(), line):
            paragraphs[-1] = (paragraphs[-1][0], end)
        else:
            paragraphs.append((start, end))
        last = line
    return paragraphs


def _continues(last: str, line: str) -> bool:
    """Return True if ``line`` begins with a small letter, or follows a long line without an end mark and is not an item
    or a row of its own."""
    return line.lstrip()[:1].islower() or (len(last) > 60 and last[-1:] not in ".!?:;|" and not _ITEM.match(line))


def _sentences(text: str, start: int, end: int, language: str) -> list[Sentence]:
    sentences: list[Sentence] = []
    begin = start
    for mark in _END.finditer(text, start, end):
        if _ends_sentence(text, begin, mark, end, language):
            sentences += _trimmed(text, begin, mark.end())
            begin = mark.end()
    return sentences + _trimmed(text, begin, end)


def _ends_sentence(text: str, begin: int, mark: re.Match[str], end: int, language: str) -> bool:
    """Return True if the end mark ends the sentence that begins at ``begin``."""
    following = text[mark.end() : min(end, mark.end() + LOOK)].lstrip()
    if following.lstrip(_OPENING_QUOTES)[:1].islower():
        return False
    before = text[max(begin, mark.start() - LOOK) : mark.start()]
    last = _LAST_WORD.search(before)
    if not last or not mark.group().startswith(".") or mark.group().startswith(".."):
        return True
    is_number_of_item = before.strip() == last.group() and (last.group().isdigit() or len(last.group()) == 1)
    return not is_number_of_item and _point_ends(last.group(), before[: last.start()], following, language)


def _point_ends(word: str, before: str, following: str, language: str) -> bool:
    """Return True if the point after ``word`` ends a sentence, and is not part of an abbreviation or ordinal number."""
    match = _NEXT_WORD.match(following)
    next_word, next_sign = match.groups() if match else ("", "")
    is_initial = len(next_word) == 1 and next_sign == "."
    is_elided = len(next_word) <= 2 and next_sign in ("'", "’")  # L'article
    begins_sentence = is_elided or (next_word.lower() in FUNCTION_WORDS[language] and not is_initial)
    is_ordinal = language == GERMAN and (
        (word.isdigit() and len(word) <= 3) or _ROMAN_NUMBER.fullmatch(word) or _SHORT_DATE.fullmatch(word)
    )
    is_after_number = before.rstrip()[-1:].isdigit()
    folded = word.lower()
    if is_after_number and (folded in UNITS or (len(word) == 1 and word.islower())):
        return not next_word[:1].isdigit()
    if is_ordinal or (len(word) == 1 and word.isalpha()) or _DOTTED.fullmatch(word):
        return begins_sentence
    if folded in TITLES and not is_after_number:
        return False
    if folded in REFERENCES:
        return not (next_word[:1].isdigit() or is_initial)
    if folded in AND_SO_ON:
        return True
    return begins_sentence or not (folded in ABBREVIATIONS or _WITHOUT_VOWEL.fullmatch(word))


def _trimmed(text: str, start: int, end: int) -> list[Sentence]:
    """Return the text without surrounding space as one sentence, or as several if it is too long."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    pieces = [(at, min(at + MAX_CHARS, end)) for at in range(start, end, MAX_CHARS)]
    return [Sentence(text[a:b], a, b) for a, b in pieces]
