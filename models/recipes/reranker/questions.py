"""What a reranker learns from: passages that resemble one another, and questions that one of them answers.

Questions with their paragraphs come from files in SQuAD's format. Handbooks give two kinds more: a heading and what stands
under it, because people type headings into a search more often than they ask questions, and a sentence and the section that it
was taken out of, because many a search says what it looks for (the inverse cloze task of Lee, Chang and Toutanova, 2019).
"""

from __future__ import annotations

import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

HEADING = re.compile(r"^#{1,4} +(.{8,90})$", re.MULTILINE)
#: Characters of a section: shorter ones say too little, of longer ones the beginning is used.
SECTION = (250, 900)
#: Characters of a sentence that is taken out of its section.
SENTENCE = (50, 250)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that the passage at ``place`` answers; another one that holds ``answer`` may answer it too."""

    text: str
    place: int
    answer: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Passages, and questions whose ``place`` is the number of a passage."""

    passages: tuple[str, ...]
    asked: tuple[Asked, ...]


def squad(file: Path) -> list[Pool]:
    """A pool for each article of a file in SQuAD's format, plain or packed by xz."""
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as stream:
        return [_article(article["paragraphs"]) for article in json.load(stream)["data"]]


def _article(paragraphs: Sequence[dict]) -> Pool:
    asked = (
        Asked(each["question"].strip(), place, each["answers"][0]["text"])
        for place, paragraph in enumerate(paragraphs)
        for each in paragraph["qas"]
        if each["answers"]
    )
    return Pool(tuple(paragraph["context"] for paragraph in paragraphs), tuple(asked))


def handbook(file: Path, most: int, rng: random.Random) -> Pool:
    """At most ``most`` sections of a file of documents, each asked for by its heading, where no other section has it, and by
    a sentence that is not in it any more, where it can spare one."""
    found = list(_sections(file))
    often = Counter(heading.lower() for heading, _ in found)
    passages: list[str] = []
    asked: list[Asked] = []
    for heading, section in rng.sample(found, min(most, len(found))):
        sentence, rest = _spared(section, rng)
        if often[heading.lower()] == 1:
            asked.append(Asked(heading, len(passages), heading))
        if sentence:
            asked.append(Asked(sentence, len(passages), sentence))
        passages.append(rest)
    return Pool(tuple(passages), tuple(asked))


def _sections(file: Path) -> Iterator[tuple[str, str]]:
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"]
            cuts = [*HEADING.finditer(text)]
            ends = [*(cut.start() for cut in cuts), len(text)][1:]
            for cut, end in zip(cuts, ends, strict=True):
                section = text[cut.end() : end].strip()[: SECTION[1]]
                if len(section) >= SECTION[0]:
                    yield cut[1].strip(), section


def _spared(section: str, rng: random.Random) -> tuple[str, str]:
    """A sentence of the section and the section without it; an empty sentence where too little would be left."""
    sentences = [s.strip() for s in _SENTENCE_END.split(section)]
    long_enough = [s for s in sentences if SENTENCE[0] <= len(s) <= SENTENCE[1] and "\n" not in s]
    if len(sentences) < 4 or not long_enough:
        return "", section
    sentence = rng.choice(long_enough)
    return sentence, section.replace(sentence, " ", 1)


def joined(pools: Sequence[Pool]) -> Pool:
    """All passages and questions as one pool."""
    passages: list[str] = []
    asked: list[Asked] = []
    for pool in pools:
        asked += [Asked(each.text, each.place + len(passages), each.answer) for each in pool.asked]
        passages += pool.passages
    return Pool(tuple(passages), tuple(asked))


def neighbourhoods(pool: Pool, size: int, most: int, rng: random.Random) -> list[Pool]:
    """Pools of ``size`` passages that resemble one another most by TF-IDF, each passage in one of them, in a random order; at
    most ``most``. What is left over when passages run out is not used."""
    counter = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_features=200_000)
    table = counter.fit_transform(pool.passages)
    by_word = table.T.tocsr()
    free = set(range(len(pool.passages)))
    made: list[Pool] = []
    wanted = min(most, len(pool.passages) // size)
    for seed in tqdm(rng.sample(range(len(pool.passages)), len(pool.passages)), desc="near passages", unit="passage"):
        if len(made) == wanted:
            break
        if seed in free:
            near = (table[seed] @ by_word).toarray()[0]
            chosen = [seed, *(n for n in (-near).argsort(kind="stable").tolist() if n in free and n != seed)][:size]
            free.difference_update(chosen)
            made.append(_part(pool, chosen))
    rng.shuffle(made)
    return [each for each in made if each.asked]


def _part(pool: Pool, chosen: Sequence[int]) -> Pool:
    places = {number: place for place, number in enumerate(chosen)}
    asked = (Asked(each.text, places[each.place], each.answer) for each in pool.asked if each.place in places)
    return Pool(tuple(pool.passages[number] for number in chosen), tuple(asked))
