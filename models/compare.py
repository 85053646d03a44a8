"""Metrics of a classifier on labelled texts, the difference of two classifiers, and the gate of a promotion.

Needs numpy only, so that it runs where models are served.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from models.labelled import LabelledText
from pipeline.documents import Prediction
from pipeline.onnx import ModelManifest

#: Bins of the expected calibration error, of equal width.
BINS = 15
RESAMPLES = 2000
SEED = 20261124
#: What of a manifest is the same for all versions of a name, or follows from other files.
NOT_COMPARED = frozenset({"files", "name"})


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Precision, recall and F1 of one label, shares in 0..1; ``support`` counts the texts that have the label."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassifierMetrics:
    """Metrics over all labels, shares in 0..1.

    ``coverage`` is the share of confident predictions, ``confident_accuracy`` the accuracy of these (1 if there are
    none), ``ece`` the expected calibration error over `BINS` bins of equal width.
    """

    texts: int
    accuracy: float
    macro_f1: float
    ece: float
    coverage: float
    confident_accuracy: float
    classes: Mapping[str, ClassMetrics]

    @property
    def summary(self) -> dict[str, float | int]:
        """Every metric but those of the single classes, by name, rounded to four digits."""
        names = [field.name for field in fields(self) if field.name != "classes"]
        return {name: round(getattr(self, name), 4) for name in names}


@dataclass(frozen=True, slots=True)
class Flip:
    """A text for which two classifiers predict different labels."""

    place: str
    label: str
    before: str
    before_probability: float
    after: str
    after_probability: float


@dataclass(frozen=True, slots=True)
class ClassifierComparison:
    """Two classifiers on the same texts.

    Only the second is right on ``gained`` texts, only the first on ``lost``. ``p_value`` is McNemar's, exact and
    two-sided; ``interval`` holds the difference in accuracy (second minus first) with 95 %, by a paired bootstrap.
    """

    before: ClassifierMetrics
    after: ClassifierMetrics
    gained: int
    lost: int
    p_value: float
    interval: tuple[float, float]
    flips: tuple[Flip, ...]


def measure(texts: Sequence[LabelledText], predictions: Sequence[Prediction]) -> ClassifierMetrics:
    """Return the metrics of predictions for labelled texts, in the same order.

    A label that the classifier does not have counts as missed.
    """
    predicted = [prediction.label for prediction in predictions]
    right = _right(texts, predictions)
    confident = np.array([prediction.confident for prediction in predictions])
    labels = sorted({label for text in texts for label in text.labels})
    classes = {label: class_metrics(label, texts, predicted) for label in labels}
    return ClassifierMetrics(
        texts=len(texts),
        accuracy=float(right.mean()),
        macro_f1=float(np.mean([metrics.f1 for metrics in classes.values()])),
        ece=calibration_error(np.array([prediction.probability for prediction in predictions]), right),
        coverage=float(confident.mean()),
        confident_accuracy=float(right[confident].mean()) if confident.any() else 1.0,
        classes=classes,
    )


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error of predictions, both arrays of shape (texts,).

    It is the mean distance of confidence and accuracy over the bins, weighted by the texts in each.
    """
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [abs(probabilities[bins == b].sum() - right[bins == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(right))


def compare(
    texts: Sequence[LabelledText], one: Sequence[Prediction], two: Sequence[Prediction]
) -> ClassifierComparison:
    """Compare the predictions of two classifiers for the same texts. The bootstrap is seeded, so the result repeats."""
    first, second = _right(texts, one), _right(texts, two)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    flips = [
        Flip(text.place, "; ".join(text.labels), a.label, a.probability, b.label, b.probability)
        for text, a, b in zip(texts, one, two, strict=True)
        if a.label != b.label
    ]
    interval = bootstrap_interval(second.astype(float) - first)
    return ClassifierComparison(
        measure(texts, one), measure(texts, two), gained, lost, mcnemar(gained, lost), interval, tuple(flips)
    )


def mcnemar(gained: int, lost: int) -> float:
    """Return the probability of a difference at least this large between two equally good classifiers.

    This is the exact binomial test on the texts on which only one of them is right.
    """
    total = gained + lost
    if not total:
        return 1.0
    # By logarithms: the sums run over thousands of texts.
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(min(gained, lost) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(log - total * math.log(2)) for log in logs))


def class_metrics(label: str, texts: Sequence[LabelledText], predicted: Sequence[str]) -> ClassMetrics:
    """Return the metrics of one label; ``predicted`` holds the predicted label of each text."""
    pairs = list(zip(texts, predicted, strict=True))
    support = sum(label in text.labels for text in texts)
    hits = sum(label in text.labels and prediction == label for text, prediction in pairs)
    # A text with several labels gets one prediction: predicting another of its labels does not miss this one.
    misses = sum(label in text.labels and prediction not in text.labels for text, prediction in pairs)
    precision = hits / Counter(predicted)[label] if hits else 0.0
    recall = hits / (hits + misses) if hits else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return ClassMetrics(precision, recall, f1, support)


def bootstrap_interval(difference: np.ndarray) -> tuple[float, float]:
    """Return the middle 95 % of the mean difference over resampled texts.

    ``difference`` (float, one per text) is the second classifier's score less the first's. Only -1, 0 and 1 occur, so
    that their counts are drawn.
    """
    values, counts = np.unique(difference, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(difference), counts / len(difference), size=RESAMPLES)
    low, high = np.percentile(draws @ values / len(difference), [2.5, 97.5])
    return float(low), float(high)


def worse(before: ClassifierMetrics, after: ClassifierMetrics, margin: float) -> list[str]:
    """Return the reasons why ``after`` must not replace ``before``, none if it may. This is the gate of a promotion."""
    reasons = []
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        old, new = getattr(before, name), getattr(after, name)
        if new < old - margin - 1e-9:
            reasons.append(f"{title} {new:.4f} instead of {old:.4f}")
    return reasons


def manifest_differences(one: ModelManifest, two: ModelManifest) -> dict[str, tuple[object, object]]:
    """Return what differs between two manifests, without the digests of their files; nested names are dotted."""
    first, second = _flat(one), _flat(two)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return {name: (first.get(name), second.get(name)) for name in names}


def _right(texts: Sequence[LabelledText], predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([prediction.label in text.labels for text, prediction in zip(texts, predictions, strict=True)])


def _flat(manifest: ModelManifest) -> dict[str, object]:
    values: dict[str, object] = {}
    for field in fields(manifest):
        value = getattr(manifest, field.name)
        if isinstance(value, Mapping):
            values |= {f"{field.name}.{key}": entry for key, entry in value.items()}
        else:
            values[field.name] = value
    return {name: value for name, value in values.items() if name.split(".")[0] not in NOT_COMPARED}
