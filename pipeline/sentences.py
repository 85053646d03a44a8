"""Sentences with exact offsets: by rules, for the prose, lists, tables and clauses of office documents."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: A point after these does not end a sentence.
ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof sr jr st no nos art sec para cl vs etc inc ltd llc corp co dept fig eq approx est ext tel p pp "
    "vol ed e.g i.e cf al jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun a.m p.m u.s".split()
)
#: A line longer than this is cut at its sentence ends; a shorter one (a heading, a list item, a table row) stays whole.
MAX_CHARS = 600
#: Characters looked at around an end mark: every decision is local, so that a long text takes linear time.
LOOK = 40
_END = re.compile(r"[.!?]+[\"'”’)\]]*(?=\s)")
_LAST_WORD = re.compile(r"([\w.]+)$")


@dataclass(frozen=True, slots=True)
class Sentence:
    """``start`` and ``end`` are offsets into the text that was split: text[start:end] is the sentence."""

    text: str
    start: int
    end: int


def split_sentences(text: str) -> tuple[Sentence, ...]:
    """Return all sentences in order, without surrounding space. Lines joined inside a paragraph are one run of prose;
    blank lines, list marks and table rows end a sentence."""
    sentences: list[Sentence] = []
    for start, end in _blocks(text):
        sentences += _inside(text, start, end)
    return tuple(sentences)


def _blocks(text: str) -> list[tuple[int, int]]:
    """Paragraphs: runs of lines in which each goes on from the one before."""
    blocks: list[tuple[int, int]] = []
    at, last = 0, ""
    for line in text.splitlines(keepends=True):
        start, end = at, at + len(line)
        at = end
        if not line.strip():
            continue
        if blocks and blocks[-1][1] == start and _goes_on(last.rstrip(), line):
            blocks[-1] = (blocks[-1][0], end)
        else:
            blocks.append((start, end))
        last = line
    return blocks


def _goes_on(last: str, line: str) -> bool:
    """A line goes on from a long line without an end mark, when it does not start like an item or a row of its own."""
    starts_small = line.lstrip()[:1].islower()
    return starts_small or (len(last) > 60 and last[-1:] not in ".!?:;|" and not _is_item(line))


def _is_item(line: str) -> bool:
    return bool(re.match(r"\s*(?:[-*•|#]|\(?\w{1,3}[.)]\s|§)", line))


def _inside(text: str, start: int, end: int) -> list[Sentence]:
    sentences: list[Sentence] = []
    begin = start
    for match in _END.finditer(text, start, end):
        if _is_end(text, start, match, end):
            sentences += _trimmed(text, begin, match.end())
            begin = match.end()
    return sentences + _trimmed(text, begin, end)


def _is_end(text: str, start: int, match: re.Match[str], end: int) -> bool:
    following = text[match.end() : min(end, match.end() + LOOK)].lstrip()[:1]
    if following and following.islower():
        return False
    if match.group()[0] != ".":
        return True
    before = _LAST_WORD.search(text, max(start, match.start() - 20), match.start())
    word = before.group(1).lower() if before else ""
    # "No. 5", "J. Smith", "1. Scope": the point belongs to the word, or to a number at the start of its line.
    ahead = match.start() - len(word)
    numbered = word.isdigit() and not text[max(start, ahead - LOOK) : ahead].rpartition("\n")[2].strip()
    return not (word in ABBREVIATIONS or (len(word) == 1 and word.isalpha()) or numbered)


def _trimmed(text: str, start: int, end: int) -> list[Sentence]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    pieces = [(at, min(at + MAX_CHARS, end)) for at in range(start, end, MAX_CHARS)]
    return [Sentence(text[a:b], a, b) for a, b in pieces]
