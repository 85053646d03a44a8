"""Plain English to read: folders of ``.jsonl``, ``.jsonl.xz``, ``.txt`` and ``.md`` files, cut into passages of many
lengths.
"""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from models.recipes.base.short import Buckets

CLS, SEP = 101, 102
#: The lengths of a batch, in tokens, and how often each is drawn: users classify questions of ten words and whole
#: pages.
LENGTHS = {16: 0.12, 32: 0.16, 64: 0.22, 128: 0.28, 256: 0.18, 512: 0.04}


def documents(folders: Iterable[Path], characters: int, seed: int) -> Iterator[str]:
    """Yield the texts of every file under ``folders``, about ``characters`` of each file, in an order fixed by the
    seed.
    """
    for folder in folders:
        for file in tqdm(sorted(f for f in folder.rglob("*") if f.is_file()), desc=folder.name, unit="file"):
            texts = list(read_texts(file))
            random.Random(f"{seed} {file.name}").shuffle(texts)
            total = 0
            for text in texts:
                if total >= characters:
                    break
                total += len(text)
                yield text


def read_texts(file: Path) -> Iterator[str]:
    """Yield the texts of one file: of each JSON line, or a whole text file; none of any other file."""
    if file.name.endswith((".jsonl", ".jsonl.xz")):
        with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)
    elif file.suffix in {".txt", ".md"}:
        yield file.read_text(encoding="utf-8", errors="replace")


def squad_texts(file: Path) -> Iterator[str]:
    """Yield the paragraphs and the questions of a file in SQuAD's format; questions are the short texts that prose
    lacks.
    """
    with lzma.open(file, "rt", encoding="utf-8") as stream:
        articles = json.load(stream)["data"]
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        yield paragraph["context"]
        yield from (row["question"] for row in paragraph["qas"])


def tokenise(tokenizer: Tokenizer, texts: Iterable[str]) -> list[np.ndarray]:
    """Return the token ids of each text of at least four tokens, without special tokens."""
    texts = iter(texts)
    passages: list[np.ndarray] = []
    while part := list(islice(texts, 256)):
        encodings = tokenizer.encode_batch(part, add_special_tokens=False)
        passages += [np.array(e.ids, dtype=np.uint16) for e in encodings if len(e.ids) >= 4]
    return passages


class Passages:
    """Endless batches of passages, with a ``share`` of batches of short texts.

    Args:
        texts: token ids without special tokens.
        stops: ids of the tokens that end a sentence.
        seed: of the drawing.
        short: short texts, as token ids.
        share: of the batches that hold short texts.
    """

    def __init__(
        self,
        texts: list[np.ndarray],
        stops: frozenset[int],
        seed: int,
        short: list[np.ndarray] | None = None,
        share: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.stops = np.array(sorted(stops))
        self.short = Buckets(short, CLS, SEP) if short else None
        self.share = share if short else 0.0
        self.lines = [text for text in texts if len(text) <= 40]
        self.long = [text for text in texts if len(text) > 40]
        # A long document has more content, but not in proportion.
        self.weights = np.cumsum([len(text) ** 0.75 for text in self.long]).tolist()

    def batch(self, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        """Return (ids, mask) of about ``tokens`` tokens, each of shape (texts, length)."""
        if self.short and self.share and self.rng.random() < self.share:
            return self.short.batch(tokens, self.rng)
        length = self.rng.choices(list(LENGTHS), list(LENGTHS.values()))[0]
        return framed([self.crop(length - 2) for _ in range(max(2, tokens // length))])

    def crop(self, room: int) -> np.ndarray:
        """Return a part of a text, at most ``room`` tokens, that mostly begins where a sentence does."""
        if room < 40 and self.lines and self.rng.random() < 0.5:
            return self.rng.choice(self.lines)[:room]
        text = self.rng.choices(self.long, cum_weights=self.weights)[0]
        start = 0
        if len(text) > room and self.rng.random() >= 0.1:
            start = self.rng.randrange(len(text) - room + 1)
            ends = np.nonzero(np.isin(text[start : start + 60], self.stops))[0]
            if len(ends) and start + ends[0] + 4 < len(text):
                start += int(ends[0]) + 1
        size = room if self.rng.random() < 0.7 else self.rng.randint(max(3, room // 3), room)
        return text[start : start + size]


def framed(texts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids, mask), each (texts, length), of texts with the special tokens around them, padded on the right."""
    ids = np.zeros((len(texts), max(map(len, texts)) + 2), dtype=np.int64)
    for row, text in enumerate(texts):
        ids[row, : len(text) + 2] = [CLS, *text, SEP]
    return ids, (ids > 0).astype(np.int64)
