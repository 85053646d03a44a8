"""The word path: single word pieces and pairs of them, TF-IDF, linear. What a network of a few million parameters is slow to
learn, that one rare word settles the class, this path knows from the first example.

Fitted by a linear support vector machine on sparse counts, then carried as a module that does the same sum from token ids, so
that the exported network stays one file with two inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

#: Pairs of tokens share this many places; a collision costs little.
PAIRS = 1 << 17
MIX = 1_000_003
#: A feature is kept when at least this many training texts have it.
SEEN_IN = 2


def keys(ids: np.ndarray, vocabulary: int) -> np.ndarray:
    """The feature numbers of a text: its tokens, then its pairs of neighbours."""
    ids = np.asarray(ids, dtype=np.int64)
    return np.concatenate([ids, vocabulary + (ids[:-1] * MIX + ids[1:]) % PAIRS])


class WordPath(torch.nn.Module):
    """Linear scores over TF-IDF weights (1 + log count, length 1) of a text's features.

    ``row`` maps a feature number to its row in ``table`` (features + 1, labels); row 0 stands for features never seen in training,
    with weight 0. The table is kept in 8 bits with a scale per row.
    """

    def __init__(
        self, vocabulary: int, row: np.ndarray, rarity: np.ndarray, table: np.ndarray, bias: np.ndarray
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("row", torch.from_numpy(row.astype(np.int64)))
        self.register_buffer("rarity", torch.from_numpy(rarity.astype(np.float32)))
        peak = np.abs(table).max(1, keepdims=True).clip(1e-9) / 127
        self.register_buffer("table", torch.from_numpy(np.round(table / peak).astype(np.int8)))
        self.register_buffer("peak", torch.from_numpy(peak[:, 0].astype(np.float32)))
        self.register_buffer("bias", torch.from_numpy(bias.astype(np.float32)))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Token ids (batch, length) and mask to scores (batch, labels)."""
        pair = self.vocabulary + (ids[:, :-1] * MIX + ids[:, 1:]) % PAIRS
        single, double = self._part(ids, mask.bool()), self._part(pair, mask[:, 1:].bool())
        length = (single[1] + double[1]).clamp(min=1e-12).sqrt()
        return (single[0] + double[0]) / length[:, None] + self.bias

    @torch.no_grad()
    def scale(self, factor: float) -> None:
        """Multiply the scores."""
        self.peak.mul_(factor)
        self.bias.mul_(factor)

    def _part(self, feature: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(weighted sum of the table's rows, squared length). Each occurrence carries its share of the feature's weight."""
        row = self.row[feature]
        count = ((row[:, :, None] == row[:, None, :]) & real[:, None, :]).sum(-1).clamp(min=1).float()
        weight = (1.0 + count.log()) * self.rarity[row] * real.float()
        scores = torch.einsum("bl,blk->bk", weight / count * self.peak[row], self.table[row].float())
        return scores, (weight * weight / count).sum(-1)


def fit_words(texts: Sequence[Sequence[int]], targets: np.ndarray, vocabulary: int, labels: int, seed: int) -> WordPath:
    """Fit the path on token ids without special tokens. ``targets`` as in `Dataset.targets`."""
    counts, row = _counted(texts, vocabulary)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts)
    machine = LinearSVC(C=1.0, random_state=seed)
    machine = (OneVsRestClassifier(machine) if targets.ndim > 1 else machine).fit(weigh.transform(counts), targets)
    coef, bias = _planes(machine, labels, targets)
    table = np.vstack([np.zeros((1, labels)), coef.T])
    return WordPath(vocabulary, row, np.concatenate([[0.0], weigh.idf_]), table, bias)


def _counted(texts: Sequence[Sequence[int]], vocabulary: int) -> tuple[csr_matrix, np.ndarray]:
    """(texts by features, feature number to row with 0 for what is seen too rarely)."""
    found = [np.unique(keys(text, vocabulary), return_counts=True) for text in texts]
    seen = np.bincount(np.concatenate([feature for feature, _ in found]), minlength=vocabulary + PAIRS)
    kept = np.nonzero(seen >= SEEN_IN)[0]
    row = np.zeros(vocabulary + PAIRS, dtype=np.int64)
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
