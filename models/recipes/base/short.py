"""Short texts to distil on: sentences of longer ones, questions, and requests as people type them.

Everything works on token ids, so that nothing is tokenised twice. People who ask for something do not write like people
who document it: half of the texts lose their punctuation, and a share of them begins as requests do (`OPENINGS`) and
ends with a part of a sentence. Such a text need not make sense: the teacher has an embedding of it, and that is what is
learned.
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
#: Texts of each kind, at most.
POOL = 100_000
#: Tokens that end a sentence, a heading or a cell.
ENDS = (".", "!", "?", ":", ";", "#", "*", "|")
#: Punctuation inside of words, which stays when the rest is removed.
INNER = frozenset("'’-")
OPENINGS = tuple(
    line.strip()
    for line in """
    how do i, how can i, how long does it take to, how much is, how many, what is, what does it mean that, what are,
    what happens with, when is, when will, where is my, where can i find, which, who do i ask about, why is, why was,
    why do i have to, can you, could you please, would you, can i, do you have, do i need, is there, is it possible to,
    are there any, please, please tell me about, tell me, show me, give me, find, i want to, i need, i need help with,
    i would like to know, i am looking for, i have a problem with, i can not find, i did not get, i lost, my,
    there is something wrong with, let me know, remind me about, thanks for, no, yes, do not, stop, send, change,
    cancel, set, make, add, the, in case of, what if, does, did, will, should i, has, have you, who is, whose, about,
    hi, set up
    """.replace("\n", " ").split(",")
)


@dataclass(frozen=True, slots=True)
class TokenMarks:
    """What the cutting of token ids needs to know, as tables by id.

    Args:
        ends: whether the token ends a sentence.
        punctuation: whether it is punctuation that people leave out.
        continues: whether it continues a word.
    """

    ends: np.ndarray
    punctuation: np.ndarray
    continues: np.ndarray


def token_marks(tokenizer: Tokenizer) -> TokenMarks:
    """Return the tables of a WordPiece tokenizer."""
    tokens = [tokenizer.id_to_token(number) or "" for number in range(tokenizer.get_vocab_size())]
    return TokenMarks(
        np.array([token in ENDS for token in tokens]),
        np.array([not (any(map(str.isalnum, token)) or token in INNER) for token in tokens]),
        np.array([token.startswith("##") for token in tokens]),
    )


def short_texts(
    tokenizer: Tokenizer, prose: Sequence[np.ndarray], questions: Sequence[np.ndarray], rng: random.Random
) -> list[np.ndarray]:
    """Return sentences of ``prose``, ``questions`` and requests, as ids without special tokens.

    There are `POOL` of each kind at most.
    """
    marks = token_marks(tokenizer)
    parts = [part for text in prose for part in sentences(text, marks)]
    fitting = [text for text in questions if SHORTEST <= len(text) <= LONGEST]
    openings = [np.array(tokenizer.encode(o, add_special_tokens=False).ids, dtype=np.uint16) for o in OPENINGS]
    drawn = [rng.sample(pool, min(POOL, len(pool))) for pool in (parts, fitting, parts)]
    texts = [*drawn[0], *drawn[1], *(request(rng.choice(openings), text, marks, rng) for text in drawn[2])]
    return [text for text in (as_typed(text, marks, rng) for text in texts) if len(text) >= SHORTEST]


def sentences(text: np.ndarray, marks: TokenMarks) -> Iterable[np.ndarray]:
    """Yield the sentences of a text, as ids: those of a fitting length that are mostly words."""
    for part in np.split(text, np.nonzero(marks.ends[text])[0] + 1):
        if SHORTEST < len(part) <= LONGEST and not marks.continues[part[0]] and marks.punctuation[part].mean() <= 0.25:
            yield part


def as_typed(text: np.ndarray, marks: TokenMarks, rng: random.Random) -> np.ndarray:
    """Remove the punctuation of every second text, unless too little would be left."""
    words = text[~marks.punctuation[text]]
    return words if rng.random() < 0.5 and len(words) >= SHORTEST else text


def request(opening: np.ndarray, text: np.ndarray, marks: TokenMarks, rng: random.Random) -> np.ndarray:
    """Join an opening and a few words from anywhere in a sentence."""
    start = int(rng.choice(np.nonzero(~marks.continues[text])[0]))
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
        """Return (ids, mask), each (texts, length), of about ``tokens`` tokens."""
        length = rng.choices(self.lengths, self.weights)[0]
        texts = self.texts[length]
        rows = rng.sample(texts, min(len(texts), max(2, tokens // (length + 2))))
        ids = np.array([[self.start, *row, self.end] for row in rows], dtype=np.int64)
        return ids, np.ones_like(ids)
