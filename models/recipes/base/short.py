"""Short texts to distil on: sentences of longer ones, questions, and requests as people type them.

Everything is done on token ids, so that nothing is tokenised twice. People who ask for something write otherwise than people
who document it: half of the texts lose their marks, and a share of them begins as requests do (`OPENINGS`) and ends with a part of
a sentence. Such a text need not make sense: the teacher has an embedding of it, and that is what is learned.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

#: The shortest and the longest text, in tokens.
SHORTEST, LONGEST = 4, 40
#: At most so many texts of each kind.
POOL = 100_000
#: Where a sentence, a heading or a cell ends.
ENDS = (".", "!", "?", ":", ";", "#", "*", "|")
#: Marks that stay inside of words when the others are left out.
INNER = frozenset("'’-")
OPENINGS = tuple(
    line.strip()
    for line in """
    how do i, how can i, how long does it take to, how much is, how many, what is, what does it mean that, what are, what happens with,
    when is, when will, where is my, where can i find, which, who do i ask about, why is, why was, why do i have to, can you, could you
    please, would you, can i, do you have, do i need, is there, is it possible to, are there any, please, please tell me about, tell me,
    show me, give me, find, i want to, i need, i need help with, i would like to know, i am looking for, i have a problem with, i can not
    find, i did not get, i lost, my, there is something wrong with, let me know, remind me about, thanks for, no, yes, do not, stop, send,
    change, cancel, set, make, add, the, in case of, what if, does, did, will, should i, has, have you, who is, whose, about, hi, set up
    """.replace("\n", " ").split(",")
)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the cutting of token ids needs of a tokenizer, as tables by id: whether a token ends a sentence, whether it is a mark
    that people leave out, whether it goes on with a word."""

    ends: np.ndarray
    left_out: np.ndarray
    goes_on: np.ndarray


def marks(tokenizer: Tokenizer) -> Marks:
    """The tables of a WordPiece tokenizer."""
    tokens = [tokenizer.id_to_token(number) or "" for number in range(tokenizer.get_vocab_size())]
    spoken = [any(each.isalnum() for each in token) or token in INNER for token in tokens]
    return Marks(
        np.array([token in ENDS for token in tokens]),
        ~np.array(spoken),
        np.array([token.startswith("##") for token in tokens]),
    )


def short_texts(
    tokenizer: Tokenizer, prose: Sequence[np.ndarray], questions: Sequence[np.ndarray], rng: random.Random
) -> list[np.ndarray]:
    """Sentences of ``prose``, ``questions`` and requests, as ids without special tokens; at most `POOL` of each."""
    table = marks(tokenizer)
    cut = [part for text in prose for part in sentences(text, table)]
    asked = [text for text in questions if SHORTEST <= len(text) <= LONGEST]
    begun = [np.array(tokenizer.encode(o, add_special_tokens=False).ids, dtype=np.uint16) for o in OPENINGS]
    drawn = [rng.sample(pool, min(POOL, len(pool))) for pool in (cut, asked, cut)]
    texts = [*drawn[0], *drawn[1], *(_request(rng.choice(begun), text, table, rng) for text in drawn[2])]
    return [text for text in (_as_typed(text, table, rng) for text in texts) if len(text) >= SHORTEST]


def sentences(text: np.ndarray, table: Marks) -> Iterable[np.ndarray]:
    """The sentences of a text given by its ids, those of a fitting length that are mostly words."""
    for part in np.split(text, np.nonzero(table.ends[text])[0] + 1):
        if SHORTEST < len(part) <= LONGEST and not table.goes_on[part[0]] and table.left_out[part].mean() <= 0.25:
            yield part


def _as_typed(text: np.ndarray, table: Marks, rng: random.Random) -> np.ndarray:
    """Every second text without its marks, unless nothing much is left."""
    bare = text[~table.left_out[text]]
    return bare if rng.random() < 0.5 and len(bare) >= SHORTEST else text


def _request(opening: np.ndarray, text: np.ndarray, table: Marks, rng: random.Random) -> np.ndarray:
    """An opening and a few words from anywhere in a sentence."""
    begins = np.nonzero(~table.goes_on[text])[0]
    start = int(rng.choice(begins))
    return np.concatenate([opening, text[start : start + rng.randint(2, 10)]])[:LONGEST]


class Buckets:
    """Endless batches of texts of one length each, so that none is padded; every text comes equally often."""

    def __init__(self, texts: Sequence[np.ndarray], start: int, end: int) -> None:
        self.start, self.end = start, end
        self.texts: dict[int, list[np.ndarray]] = defaultdict(list)
        for text in texts:
            self.texts[len(text)].append(text)
        self.lengths = sorted(self.texts)
        # A batch of long texts holds fewer of them.
        self.weights = [len(self.texts[length]) * (length + 2) for length in self.lengths]

    def batch(self, tokens: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
        """(ids, mask), each of shape (texts, length), about ``tokens`` in all."""
        length = rng.choices(self.lengths, self.weights)[0]
        own = self.texts[length]
        rows = rng.sample(own, min(len(own), max(2, tokens // (length + 2))))
        ids = np.array([[self.start, *row, self.end] for row in rows], dtype=np.int64)
        return ids, np.ones_like(ids)
