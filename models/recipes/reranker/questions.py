"""What a reranker learns from: passages that resemble one another, and questions that one of them answers.

Questions with their paragraphs come from files in SQuAD's format. Handbooks give two further kinds: a heading with the
text below it, because people type headings into a search more often than questions, and a sentence with the section
that it was taken from, because many searches quote what they look for (the inverse cloze task of Lee, Chang and
Toutanova, 2019).
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
#: Characters of a section: shorter ones contain too little, longer ones are cut.
SECTION = (250, 900)
#: Characters of a sentence that is taken out of its section.
SENTENCE = (50, 250)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question that the passage at ``place`` answers; other passages that hold ``answer`` may answer it too."""

    text: str
    place: int
    answer: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Passages, and questions whose ``place`` is the number of a passage."""

    passages: tuple[str, ...]
    questions: tuple[AnsweredQuestion, ...]


def squad(file: Path) -> list[Pool]:
    """Read a file in SQuAD's format, plain or compressed by xz: a pool per article."""
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as stream:
        articles = [article["paragraphs"] for article in json.load(stream)["data"]]
    return [
        Pool(
            tuple(paragraph["context"] for paragraph in paragraphs),
            tuple(
                AnsweredQuestion(row["question"].strip(), place, row["answers"][0]["text"])
                for place, paragraph in enumerate(paragraphs)
                for row in paragraph["qas"]
                if row["answers"]
            ),
        )
        for paragraphs in articles
    ]


def handbook(file: Path, limit: int, rng: random.Random) -> Pool:
    """Read at most ``limit`` sections of a file of documents, with two questions for each where possible.

    One is the section's heading, where no other section has it; the other a sentence that is then taken out of the
    section, where enough remains.
    """
    pairs = list(sections(file))
    frequency = Counter(heading.lower() for heading, _ in pairs)
    passages: list[str] = []
    questions: list[AnsweredQuestion] = []
    for heading, section in rng.sample(pairs, min(limit, len(pairs))):
        sentence, rest = take_sentence(section, rng)
        if frequency[heading.lower()] == 1:
            questions.append(AnsweredQuestion(heading, len(passages), heading))
        if sentence:
            questions.append(AnsweredQuestion(sentence, len(passages), sentence))
        passages.append(rest)
    return Pool(tuple(passages), tuple(questions))


def sections(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (heading, text below it) of every document of a file."""
    with lzma.open(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"]
            cuts = [*HEADING.finditer(text)]
            ends = [*(cut.start() for cut in cuts), len(text)][1:]
            for cut, end in zip(cuts, ends, strict=True):
                section = text[cut.end() : end].strip()[: SECTION[1]]
                if len(section) >= SECTION[0]:
                    yield cut[1].strip(), section


def take_sentence(section: str, rng: random.Random) -> tuple[str, str]:
    """Return (a sentence of the section, the section without it); an empty sentence where too little would be left."""
    sentences = [s.strip() for s in _SENTENCE_END.split(section)]
    long_enough = [s for s in sentences if SENTENCE[0] <= len(s) <= SENTENCE[1] and "\n" not in s]
    if len(sentences) < 4 or not long_enough:
        return "", section
    sentence = rng.choice(long_enough)
    return sentence, section.replace(sentence, " ", 1)


def joined(pools: Sequence[Pool]) -> Pool:
    """Return all passages and questions as one pool."""
    passages: list[str] = []
    questions: list[AnsweredQuestion] = []
    for pool in pools:
        questions += [AnsweredQuestion(q.text, q.place + len(passages), q.answer) for q in pool.questions]
        passages += pool.passages
    return Pool(tuple(passages), tuple(questions))


def neighbourhoods(pool: Pool, size: int, limit: int, rng: random.Random) -> list[Pool]:
    """Return at most ``limit`` pools of the ``size`` passages that resemble one another most by TF-IDF, in random
    order.

    Each passage is in one pool at most; passages that are left over, and pools without a question, are not used.
    """
    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_features=200_000)
    table = vectorizer.fit_transform(pool.passages)
    by_word = table.T.tocsr()
    free = set(range(len(pool.passages)))
    parts: list[Pool] = []
    limit = min(limit, len(pool.passages) // size)
    for seed in tqdm(rng.sample(range(len(pool.passages)), len(pool.passages)), desc="near passages", unit="passage"):
        if len(parts) == limit:
            break
        if seed in free:
            similarity = (table[seed] @ by_word).toarray()[0]
            nearest = (-similarity).argsort(kind="stable").tolist()
            chosen = [seed, *(n for n in nearest if n in free and n != seed)][:size]
            free.difference_update(chosen)
            parts.append(subset(pool, chosen))
    rng.shuffle(parts)
    return [part for part in parts if part.questions]


def subset(pool: Pool, numbers: Sequence[int]) -> Pool:
    """Return the passages of these numbers with their questions."""
    places = {number: place for place, number in enumerate(numbers)}
    questions = (AnsweredQuestion(q.text, places[q.place], q.answer) for q in pool.questions if q.place in places)
    return Pool(tuple(pool.passages[number] for number in numbers), tuple(questions))
