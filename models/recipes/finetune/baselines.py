"""What the network has to beat, trained on the same split: a bag of words, and a linear layer on sentence embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from tqdm import tqdm

from models.recipes.finetune.examples import Dataset, Example
from pipeline.ports import Embedder


def tfidf_svm(data: Dataset) -> dict[str, float]:
    """Words and pairs of words, TF-IDF, linear support vector machine."""
    began = time.monotonic()
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
    train = words.fit_transform([example.text for example in _trained(data)])
    machine = _fitted(LinearSVC(), train, data)
    return _scored(machine, words.transform([example.text for example in data.test]), data, began)


def minilm_lr(data: Dataset, embedder: Embedder) -> dict[str, float]:
    """Sentence embeddings by ``embedder`` (the shipped all-MiniLM-L6-v2) and logistic regression, C = 10."""
    began = time.monotonic()
    train, test = (embedded(embedder, examples) for examples in (_trained(data), data.test))
    return _scored(_fitted(LogisticRegression(C=10, max_iter=1000), train, data), test, data, began)


def embedded(embedder: Embedder, examples: Sequence[Example]) -> np.ndarray:
    """(examples, dimension)."""
    parts = range(0, len(examples), 256)
    return np.vstack([embedder.embed([e.text for e in examples[n : n + 256]]) for n in tqdm(parts, desc="embed")])


def _trained(data: Dataset) -> tuple[Example, ...]:
    """A baseline needs no calibration split, so it may learn from that too: it gets every advantage."""
    return data.train + data.calibration


def _fitted(machine, features, data: Dataset):
    targets = data.targets(_trained(data))
    return (OneVsRestClassifier(machine) if targets.ndim > 1 else machine).fit(features, targets)


def _scored(machine, features, data: Dataset, began: float) -> dict[str, float]:
    targets, guessed = data.targets(data.test), machine.predict(features)
    right = guessed == targets
    found = {
        "accuracy": (right.all(1) if targets.ndim > 1 else right).mean(),
        "macro_f1": f1_score(targets, guessed, average="macro", zero_division=0),
        "micro_f1": f1_score(targets, guessed, average="micro", zero_division=0),
    }
    return {
        **{name: round(float(value), 4) for name, value in found.items()},
        "seconds": round(time.monotonic() - began, 1),
    }
