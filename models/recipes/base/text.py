"""Plain English to read: folders of ``.jsonl``, ``.jsonl.xz``, ``.txt`` and ``.md`` files, cut into passages of many lengths."""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from models.recipes.base.short import Buckets

CLS, SEP = 101, 102
#: The lengths of a batch, in tokens, and how often each is drawn: users classify questions of ten words and whole pages.
LENGTHS = {16: 0.12, 32: 0.16, 64: 0.22, 128: 0.28, 256: 0.18, 512: 0.04}


def documents(folders: Iterable[Path], characters: int, seed: int) -> Iterator[str]:
    """The texts of every file under ``folders``, at most ``characters`` of each file, in an order that the seed fixes."""
    for folder in folders:
        for file in tqdm(sorted(f for f in folder.rglob("*") if f.is_file()), desc=folder.name, unit="file"):
            texts = list(_texts(file))
            random.Random(f"{seed} {file.name}").shuffle(texts)
            taken = 0
            for text in texts:
                if taken >= characters:
                    break
                taken += len(text)
                yield text


def _texts(file: Path) -> Iterator[str]:
    if file.name.endswith((".jsonl", ".jsonl.xz")):
        with (lzma.open if file.suffix == ".xz" else open)(file, "rt", encoding="utf-8") as lines:
            yield from (json.loads(line)["text"] for line in lines)
    elif file.suffix in {".txt", ".md"}:
        yield file.read_text(encoding="utf-8", errors="replace")


def squad_texts(file: Path) -> Iterator[str]:
    """The paragraphs and the questions of a file in SQuAD's format; questions are the short texts that prose lacks."""
    with lzma.open(file, "rt", encoding="utf-8") as stream:
        articles = json.load(stream)["data"]
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        yield paragraph["context"]
        yield from (each["question"] for each in paragraph["qas"])


def tokenise(tokenizer: Tokenizer, texts: Iterable[str]) -> list[np.ndarray]:
    """Sentence-like lines of each text as ids without special tokens; what is not worth reading is left out."""
    passages, batch = [], []
    for text in texts:
        batch.append(text)
        if len(batch) == 256:
            passages += _encoded(tokenizer, batch)
            batch = []
    return passages + _encoded(tokenizer, batch)


def _encoded(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    found = tokenizer.encode_batch(texts, add_special_tokens=False)
    return [np.array(each.ids, dtype=np.uint16) for each in found if len(each.ids) >= 4]


class Passages:
    """Endless batches of passages, of which a ``share`` is of short texts. ``batch(tokens)`` gives (ids, mask), each of shape (texts,
    length)."""

    def __init__(
        self,
        texts: list[np.ndarray],
        stops: frozenset[int],
        seed: int,
        brief: list[np.ndarray] | None = None,
        share: float = 0.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.stops = np.array(sorted(stops))
        self.brief = Buckets(brief, CLS, SEP) if brief else None
        self.share = share if brief else 0.0
        self.lines = [text for text in texts if len(text) <= 40]
        self.long = [text for text in texts if len(text) > 40]
        # A long document has more to say, but not in proportion.
        self.weights = np.cumsum([len(text) ** 0.75 for text in self.long]).tolist()

    def batch(self, tokens: int) -> tuple[np.ndarray, np.ndarray]:
        if self.brief and self.share and self.rng.random() < self.share:
            return self.brief.batch(tokens, self.rng)
        length = self.rng.choices(list(LENGTHS), list(LENGTHS.values()))[0]
        crops = [self._crop(length - 2) for _ in range(max(2, tokens // length))]
        width = max(map(len, crops)) + 2
        ids = np.zeros((len(crops), width), dtype=np.int64)
        for row, crop in enumerate(crops):
            ids[row, : len(crop) + 2] = [CLS, *crop, SEP]
        return ids, (ids > 0).astype(np.int64)

    def _crop(self, room: int) -> np.ndarray:
        if room < 40 and self.lines and self.rng.random() < 0.5:
            return self.rng.choice(self.lines)[:room]
        text = self.rng.choices(self.long, cum_weights=self.weights)[0]
        start = self._start(text, room)
        size = room if self.rng.random() < 0.7 else self.rng.randint(max(3, room // 3), room)
        return text[start : start + size]

    def _start(self, text: np.ndarray, room: int) -> int:
        """Mostly where a sentence begins."""
        if len(text) <= room or self.rng.random() < 0.1:
            return 0
        start = self.rng.randrange(len(text) - room + 1)
        ends = np.nonzero(np.isin(text[start : start + 60], self.stops))[0]
        return start + int(ends[0]) + 1 if len(ends) and start + ends[0] + 4 < len(text) else start
