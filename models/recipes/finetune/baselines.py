"""Baselines, trained on the same split: a bag of words, and a linear layer on sentence embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC
from tqdm import tqdm

from models.recipes.finetune.examples import Dataset, LabelledExample
from pipeline.ports import Embedder


def tfidf_svm(data: Dataset) -> dict[str, float]:
    """Measure a linear support vector machine on the TF-IDF of words and pairs of words."""
    began = time.monotonic()
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=1, sublinear_tf=True)
    train = vectorizer.fit_transform([example.text for example in _training_examples(data)])
    test = vectorizer.transform([example.text for example in data.test])
    return {**_scores(LinearSVC(), train, test, data), "seconds": round(time.monotonic() - began, 1)}


def minilm_lr(data: Dataset, embedder: Embedder) -> dict[str, float]:
    """Measure logistic regression (C = 10) on the embeddings by ``embedder`` (the shipped all-MiniLM-L6-v2)."""
    began = time.monotonic()
    train, test = (embed(embedder, examples) for examples in (_training_examples(data), data.test))
    scores = _scores(LogisticRegression(C=10, max_iter=1000), train, test, data)
    return {**scores, "seconds": round(time.monotonic() - began, 1)}


def embed(embedder: Embedder, examples: Sequence[LabelledExample]) -> np.ndarray:
    """Return the embeddings of examples: (examples, dimension)."""
    parts = range(0, len(examples), 256)
    return np.vstack([embedder.embed([e.text for e in examples[n : n + 256]]) for n in tqdm(parts, desc="embed")])


def _training_examples(data: Dataset) -> tuple[LabelledExample, ...]:
    """Return the examples for a baseline, which needs no calibration split and so may learn from that too."""
    return data.train + data.calibration


def _scores(machine: ClassifierMixin, train: Any, test: Any, data: Dataset) -> dict[str, float]:
    targets = data.targets(_training_examples(data))
    machine = (OneVsRestClassifier(machine) if targets.ndim > 1 else machine).fit(train, targets)
    expected, predicted = data.targets(data.test), machine.predict(test)
    right = predicted == expected
    scores = {
        "accuracy": (right.all(1) if expected.ndim > 1 else right).mean(),
        "macro_f1": f1_score(expected, predicted, average="macro", zero_division=0),
        "micro_f1": f1_score(expected, predicted, average="micro", zero_division=0),
    }
    return {name: round(float(value), 4) for name, value in scores.items()}
