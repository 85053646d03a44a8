"""How good a classifier is on labelled texts, how two differ, and whether one may take the other's place. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.labelled import Labelled
from pipeline.documents import Prediction
from pipeline.onnx import ModelManifest

#: Bins of the expected calibration error, of equal width.
BINS = 15
RESAMPLES = 2000
SEED = 20261124


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one label; ``support`` counts the texts that bear it."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares in 0..1. ``coverage`` is the share of sure verdicts, ``sure_accuracy`` how many of them are right (1 where
    there are none), ``ece`` the expected calibration error over `BINS` bins of equal width."""

    texts: int
    accuracy: float
    macro_f1: float
    ece: float
    coverage: float
    sure_accuracy: float
    classes: Mapping[str, ClassFigures]

    @property
    def headline(self) -> dict[str, float | int]:
        names = ("texts", "accuracy", "macro_f1", "ece", "coverage", "sure_accuracy")
        return {name: round(getattr(self, name), 4) for name in names}


@dataclass(frozen=True, slots=True)
class Flip:
    """A text that the two call differently."""

    place: str
    label: str
    before: str
    before_probability: float
    after: str
    after_probability: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """``gained`` texts only the second gets right, ``lost`` only the first. ``p_value`` is McNemar's, exact and two-sided;
    ``interval`` holds the difference in accuracy (second minus first) with 95 % by a paired bootstrap."""

    before: Figures
    after: Figures
    gained: int
    lost: int
    p_value: float
    interval: tuple[float, float]
    flips: tuple[Flip, ...]


def figures(texts: Sequence[Labelled], predictions: Sequence[Prediction]) -> Figures:
    """Of verdicts on labelled texts. A label that the classifier does not know counts as missed."""
    told = [prediction.label for prediction in predictions]
    right = _right(texts, predictions)
    confident = np.array([prediction.confident for prediction in predictions])
    known = sorted({label for text in texts for label in text.labels})
    classes = {label: _of_class(label, texts, told) for label in known}
    return Figures(
        texts=len(texts),
        accuracy=float(right.mean()),
        macro_f1=float(np.mean([each.f1 for each in classes.values()])),
        ece=calibration_error(np.array([prediction.probability for prediction in predictions]), right),
        coverage=float(confident.mean()),
        sure_accuracy=float(right[confident].mean()) if confident.any() else 1.0,
        classes=classes,
    )


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: the mean distance of confidence and accuracy over the bins, weighted by their texts."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = [abs(probabilities[bins == b].sum() - right[bins == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(right))


def compare(texts: Sequence[Labelled], one: Sequence[Prediction], two: Sequence[Prediction]) -> Comparison:
    """The second classifier's verdicts against the first's, on the same texts. Seeded: the same answer every time."""
    first, second = _right(texts, one), _right(texts, two)
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    flips = [
        Flip(text.place, "; ".join(text.labels), a.label, a.probability, b.label, b.probability)
        for text, a, b in zip(texts, one, two, strict=True)
        if a.label != b.label
    ]
    spread = _bootstrap(second.astype(float) - first)
    before, after = figures(texts, one), figures(texts, two)
    return Comparison(before, after, gained, lost, mcnemar(gained, lost), spread, tuple(flips))


def mcnemar(gained: int, lost: int) -> float:
    """How likely a difference this large is where both are equally good: the exact binomial test on the texts that only
    one of them gets right."""
    total = gained + lost
    if not total:
        return 1.0
    # By logarithms: the sums run over thousands of texts.
    logs = [
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(min(gained, lost) + 1)
    ]
    return min(1.0, 2 * math.fsum(math.exp(each - total * math.log(2)) for each in logs))


def worse(before: Figures, after: Figures, margin: float) -> list[str]:
    """Why ``after`` must not take the place of ``before``; empty where it may. The gate of a promotion."""
    reasons = []
    for name, said in (("accuracy", "accuracy"), ("macro_f1", "macro F1")):
        old, new = getattr(before, name), getattr(after, name)
        if new < old - margin - 1e-9:
            reasons.append(f"{said} {new:.4f} instead of {old:.4f}")
    return reasons


def manifest_differences(one: ModelManifest, two: ModelManifest) -> dict[str, tuple[object, object]]:
    """What two versions say differently of themselves, the digests of their files left out; nested names are dotted."""
    first, second = _flat(one), _flat(two)
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return {name: (first.get(name), second.get(name)) for name in names}


def _right(texts: Sequence[Labelled], predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([prediction.label in text.labels for text, prediction in zip(texts, predictions, strict=True)])


def _of_class(label: str, texts: Sequence[Labelled], told: Sequence[str]) -> ClassFigures:
    bears = [label in text.labels for text in texts]
    hit = sum(mine and each == label for mine, each in zip(bears, told, strict=True))
    # A text with several labels is given one verdict: naming another of its labels is no miss of this one.
    missed = sum(mine and each not in text.labels for mine, text, each in zip(bears, texts, told, strict=True))
    named = sum(each == label for each in told)
    precision, recall = hit / named if named else 0.0, hit / (hit + missed) if hit else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
    return ClassFigures(precision, recall, f1, sum(bears))


def _bootstrap(difference: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the mean over resampled texts. Only -1, 0 and 1 occur, so their counts are drawn."""
    values, counts = np.unique(difference, return_counts=True)
    draws = np.random.default_rng(SEED).multinomial(len(difference), counts / len(difference), size=RESAMPLES)
    low, high = np.percentile(draws @ values / len(difference), [2.5, 97.5])
    return float(low), float(high)


def _flat(manifest: ModelManifest) -> dict[str, object]:
    fields = [name for name in ModelManifest.__dataclass_fields__ if name not in ("files", "name")]
    values: dict[str, object] = {}
    for name in fields:
        value = getattr(manifest, name)
        values |= (
            {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
        )
    return values
