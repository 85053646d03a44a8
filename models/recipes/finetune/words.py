"""The word path: whole words, pairs of them, and word pieces, TF-IDF, linear. What a network of a few million parameters is slow
to learn, that one rare word settles the class, this path knows from the first example.

Fitted by a linear support vector machine on sparse counts, then carried as a module that does the same sum from token ids, so
that the exported network stays one file with two inputs. Words are put together again from their pieces: on document types from
sources that were not trained on, pieces alone were right on 83.0 % and words with pieces on 85.1 % (2026-11-24, seed 20261124).

Long texts are shown twice, once with a few of their features only (`thinned`). Weights have length 1, so that each feature of a short
text weighs much and each of a long one little: where the texts of a class are all short, the machine learns how short they are, and in
another house, where they are not, takes them for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer
from torch.nn import functional

#: Words share this many places, pairs of words as many; a collision costs little.
PLACES = 1 << 18
MIX = 1_000_003
#: A word is the sum of its pieces' random numbers, below this bound so that a pair's product fits 64 bits.
BOUND = 1 << 40
#: A feature is kept when at least this many training texts have it.
SEEN_IN = 2
#: A text with more than twice as many features is shown once more, with about so many of them.
SHOWN = 100
#: How a tokenizer marks the pieces that go on with a word, or else those that begin one.
GOES_ON, BEGINS = "##", ("▁", "Ġ")


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What the path knows of each token, by id: whether it is part of a word (``said``; marks and special tokens are not),
    whether it begins one (``begins``), and its random number (``salt``)."""

    said: np.ndarray
    begins: np.ndarray
    salt: np.ndarray

    @property
    def size(self) -> int:
        """Tokens."""
        return len(self.said)

    @property
    def features(self) -> int:
        """Feature numbers in all: words, pairs, pieces."""
        return 2 * PLACES + self.size

    def keys(self, ids: Sequence[int]) -> np.ndarray:
        """The feature numbers of a text given by its token ids: its words, its pairs of neighbouring words, its pieces."""
        pieces = np.asarray(ids, dtype=np.int64)
        place = np.cumsum(self.begins[pieces])
        kept = self.said[pieces] & (place > 0)
        words = np.zeros(int(place[-1]) if len(place) else 0, dtype=np.int64)
        np.add.at(words, place[kept] - 1, self.salt[pieces[kept]])
        words %= BOUND
        pairs = PLACES + (words[:-1] * MIX + words[1:]) % PLACES
        return np.concatenate([words % PLACES, pairs, 2 * PLACES + pieces])


def lexicon(tokenizer: Tokenizer, size: int) -> Lexicon:
    """The lexicon of a tokenizer with ``size`` tokens. Where it marks neither, every token is a word."""
    tokens = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number < size)
    special = {added.content for added in tokenizer.get_added_tokens_decoder().values()}
    goes_on = any(token.startswith(GOES_ON) for _, token in tokens)
    marks = not goes_on and sum(token.startswith(BEGINS) for _, token in tokens) > len(tokens) // 10
    said, begins = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for number, token in tokens:
        said[number] = token not in special and any(each.isalnum() for each in token)
        first = token.startswith(BEGINS) if marks else not token.startswith(GOES_ON)
        begins[number] = said[number] and first
    return Lexicon(said, begins, np.random.default_rng(size).integers(1, BOUND >> 8, size))


class WordPath(torch.nn.Module):
    """Linear scores over TF-IDF weights (1 + log count, length 1) of a text's features.

    ``row`` maps a feature number to its row in ``table`` (features + 1, labels); row 0 stands for features never seen in training,
    with weight 0. The table is kept in 8 bits with a scale per row.
    """

    def __init__(
        self, known: Lexicon, row: np.ndarray, rarity: np.ndarray, table: np.ndarray, bias: np.ndarray
    ) -> None:
        super().__init__()
        for name in ("said", "begins", "salt"):
            self.register_buffer(name, torch.from_numpy(getattr(known, name)))
        self.register_buffer("row", torch.from_numpy(row.astype(np.int32)))
        self.register_buffer("rarity", torch.from_numpy(rarity.astype(np.float32)))
        peak = np.abs(table).max(1, keepdims=True).clip(1e-9) / 127
        self.register_buffer("table", torch.from_numpy(np.round(table / peak).astype(np.int8)))
        self.register_buffer("peak", torch.from_numpy(peak[:, 0].astype(np.float32)))
        self.register_buffer("bias", torch.from_numpy(bias.astype(np.float32)))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids (batch, length) and mask to scores (batch, labels)."""
        real = mask.bool()
        words, are = self._words(ids, real)
        pairs = PLACES + (words * MIX + _next(words)) % PLACES
        parts = (
            self._part(words % PLACES, are),
            self._part(pairs, are & _next(are)),
            self._part(2 * PLACES + ids, real),
        )
        length = sum(part[1] for part in parts).clamp(min=1e-12).sqrt()
        return sum(part[0] for part in parts) / length[:, None] + self.bias

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the scores."""
        self.peak.mul_(factor)
        self.bias.mul_(factor)

    def _words(self, ids: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The words of each text from the left, and which of the (batch, length) places hold one."""
        place = (self.begins[ids] & real).long().cumsum(1)
        kept = self.said[ids] & real & (place > 0)
        sums = torch.zeros_like(ids).scatter_add(1, (place - 1).clamp(min=0), self.salt[ids] * kept.long())
        many = torch.ones_like(ids).cumsum(1)
        return sums % BOUND, many <= place[:, -1:]

    def _part(self, feature: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(weighted sum of the table's rows, squared length). Each occurrence carries its share of the feature's weight."""
        row = (self.row[feature].long() * real).sort(1).values
        run = (row != functional.pad(row[:, :-1], (1, 0), value=-1)).long().cumsum(1) - 1
        count = torch.zeros_like(row).scatter_add(1, run, torch.ones_like(row)).gather(1, run).float()
        weight = (1.0 + count.log()) * self.rarity[row]
        scores = torch.einsum("bl,blk->bk", weight / count * self.peak[row], self.table[row].float())
        return scores, (weight * weight / count).sum(-1)


def _next(values: torch.Tensor) -> torch.Tensor:
    """What stands one place further on, and nothing after the last."""
    return functional.pad(values[:, 1:], (0, 1))


def fit_words(texts: Sequence[Sequence[int]], targets: np.ndarray, known: Lexicon, labels: int, seed: int) -> WordPath:
    """Fit the path on token ids without special tokens. ``targets`` as in `Dataset.targets`; rare labels count more."""
    counts, row = counted(texts, known)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts)
    shown = weigh.transform(counts)
    less, which = thinned(shown, seed)
    machine = LinearSVC(C=1.0, class_weight="balanced", random_state=seed)
    machine = OneVsRestClassifier(machine) if targets.ndim > 1 else machine
    machine.fit(vstack([shown, less]), np.concatenate([targets, targets[which]]))
    coef, bias = _planes(machine, labels, targets)
    table = np.vstack([np.zeros((1, labels)), coef.T])
    return WordPath(known, row, np.concatenate([[0.0], weigh.idf_]), table, bias)


def thinned(texts: csr_matrix, seed: int) -> tuple[csr_matrix, np.ndarray]:
    """(rows of length 1, which rows of ``texts`` they are made from): about `SHOWN` features, drawn at random, of each text with more than
    twice as many (blankout noise: van der Maaten et al., "Learning with Marginalized Corrupted Features", ICML 2013)."""
    which = np.nonzero(np.diff(texts.indptr) > 2 * SHOWN)[0]
    kept = texts[which]
    features = np.diff(kept.indptr)
    kept.data *= np.random.default_rng(seed).random(kept.nnz) < np.repeat(SHOWN / features, features)
    kept.eliminate_zeros()
    place = np.repeat(np.arange(len(which)), np.diff(kept.indptr))
    kept.data /= np.sqrt(np.bincount(place, kept.data**2))[place]
    return kept, which


def counted(texts: Sequence[Sequence[int]], known: Lexicon) -> tuple[csr_matrix, np.ndarray]:
    """(texts by features, feature number to row with 0 for what is seen too rarely)."""
    found = [np.unique(known.keys(text), return_counts=True) for text in texts]
    seen = np.bincount(np.concatenate([feature for feature, _ in found]), minlength=known.features)
    kept = np.nonzero(seen >= SEEN_IN)[0]
    row = np.zeros(known.features, dtype=np.int64)
    row[kept] = np.arange(1, len(kept) + 1)
    places = [row[feature] for feature, _ in found]
    data = np.concatenate([count[place > 0] for place, (_, count) in zip(places, found, strict=True)])
    columns = np.concatenate([place[place > 0] - 1 for place in places])
    ends = np.cumsum([0, *((place > 0).sum() for place in places)])
    return csr_matrix((data.astype(np.float64), columns, ends), shape=(len(texts), len(kept))), row


def _planes(machine, labels: int, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, features) and (labels,): a machine for two classes has one plane, a class without examples none."""
    if targets.ndim > 1:
        coef = np.vstack([np.atleast_2d(each.coef_) for each in machine.estimators_])
        return coef, np.array([float(np.ravel(each.intercept_)[0]) for each in machine.estimators_])
    coef, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        coef, bias = np.vstack([-coef, coef]), np.array([-bias[0], bias[0]])
    full, shift = np.zeros((labels, coef.shape[1])), np.full(labels, -1.0)
    full[machine.classes_], shift[machine.classes_] = coef, bias
    return full, shift
