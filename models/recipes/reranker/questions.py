"""What a reranker learns from: a question, the passage that answers it, and passages that only look as if they did.

Questions with their paragraphs come from files in SQuAD's format; headings with what stands under them from plain handbooks,
because people type headings into a search more often than they ask questions. Wrong passages are those whose words resemble
the question most, found by TF-IDF over all passages of the same kind.
"""

from __future__ import annotations

import json
import lzma
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

#: Wrong passages are drawn from so many best ones.
DEPTH = 24
#: Questions compared with all passages at a time.
BLOCK = 512
HEADING = re.compile(r"^#{1,4} +(.{8,90})$", re.MULTILINE)
#: Characters of a section: shorter ones say too little, of longer ones the beginning is used.
SECTION = (200, 1200)


@dataclass(frozen=True, slots=True)
class Question:
    """``text`` is answered by ``right``; ``wrong`` passages are near but do not answer it."""

    text: str
    right: str
    wrong: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question before its wrong passages are known; ``answer`` must not occur in one of these."""

    text: str
    place: int
    answer: str


def squad(file: Path) -> tuple[list[str], list[Asked]]:
    """The paragraphs and the questions of a file in SQuAD's format, plain or packed by xz."""
    with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as stream:
        articles = json.load(stream)["data"]
    passages: list[str] = []
    asked = []
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        asked += [
            Asked(each["question"].strip(), len(passages), each["answers"][0]["text"])
            for each in paragraph["qas"]
            if each["answers"]
        ]
        passages.append(paragraph["context"])
    return passages, asked


def headings(files: Sequence[Path], each: int, rng: random.Random) -> tuple[list[str], list[Asked]]:
    """At most ``each`` sections of each file, asked for by their headings."""
    passages: list[str] = []
    asked = []
    for file in files:
        found = list(_sections(file))
        for heading, section in rng.sample(found, min(each, len(found))):
            asked.append(Asked(heading, len(passages), heading))
            passages.append(section)
    return passages, asked


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


def with_wrong(
    passages: Sequence[str], asked: Sequence[Asked], count: int, each: int, rng: random.Random
) -> list[Question]:
    """``count`` questions drawn from ``asked``, with ``each`` wrong passages; fewer where too few resemble one."""
    counter = TfidfVectorizer(sublinear_tf=True, stop_words="english", max_features=200_000)
    table = counter.fit_transform(passages).T.tocsc()
    chosen = rng.sample(list(asked), min(count, len(asked)))
    made = []
    for start in tqdm(range(0, len(chosen), BLOCK), desc="wrong passages", unit="block"):
        block = chosen[start : start + BLOCK]
        scores = (counter.transform([each.text for each in block]) @ table).toarray()
        nearest = np.argsort(-scores, axis=1)[:, :DEPTH]
        for question, order in zip(block, nearest, strict=True):
            near = [passages[n] for n in order if n != question.place]
            near = [text for text in near if question.answer.lower() not in text.lower()]
            if len(near) >= each:
                wrong = tuple(rng.sample(near, each))
                made.append(Question(question.text, passages[question.place], wrong))
    return made
