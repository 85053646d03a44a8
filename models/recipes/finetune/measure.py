"""The metrics of a classifier on a test split, the same for ours and for the baselines.

Everywhere, ``probabilities`` are (texts, labels) and ``targets`` as in `Dataset.targets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from models.recipes.finetune.calibrate import (
    PRECISION,
    Calibration,
    calibration_error,
    coverage_at,
    reliability,
)
from models.recipes.finetune.examples import LabelledExample

#: Mistakes that a report lists, at most.
MISTAKES = 20


def metrics(probabilities: np.ndarray, targets: np.ndarray, calibration: Calibration) -> dict[str, Any]:
    """Return accuracy (all labels of a text right, where it may have several), F1, calibration and coverage."""
    predicted = predictions(probabilities, calibration)
    confidence, right = _top(probabilities, targets)
    limits = np.array(calibration.thresholds)[probabilities.argmax(1)]
    confident = confidence >= limits
    exact = (predicted == targets).all(1) if targets.ndim > 1 else predicted == targets
    return {
        "texts": len(targets),
        "accuracy": _rounded(exact.mean()),
        "macro_f1": _rounded(f1_score(targets, predicted, average="macro", zero_division=0)),
        "micro_f1": _rounded(f1_score(targets, predicted, average="micro", zero_division=0)),
        "ece": _rounded(calibration_error(confidence, right)),
        "coverage_at_97": _rounded(coverage_at(PRECISION, confidence, right)),
        "coverage_sure": _rounded(confident.mean()),
        "precision_of_sure": _rounded(right[confident].mean()) if confident.any() else None,
    }


def predictions(probabilities: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Return label numbers (texts,), or (texts, labels) of 0 and 1 where a text may have several labels."""
    return (probabilities > 0.5).astype(int) if calibration.multi else probabilities.argmax(1)


def per_class(
    probabilities: np.ndarray, targets: np.ndarray, calibration: Calibration, labels: Sequence[str]
) -> list[dict]:
    """Return precision, recall, F1, support and threshold of every label."""
    predicted = predictions(probabilities, calibration)
    places = None if targets.ndim > 1 else list(range(len(labels)))
    rows = zip(
        labels,
        *precision_recall_fscore_support(targets, predicted, labels=places, zero_division=0),
        calibration.thresholds,
        strict=True,
    )
    return [
        {
            "label": label,
            "precision": _rounded(precision),
            "recall": _rounded(recall),
            "f1": _rounded(f1),
            "support": int(support),
            "threshold": threshold,
        }
        for label, precision, recall, f1, support, threshold in rows
    ]


def confusion(probabilities: np.ndarray, targets: np.ndarray, labels: Sequence[str]) -> list[list[int]]:
    """Return the confusion matrix: rows are the right labels, columns the predicted ones.

    Of a text with several labels the predicted one counts if it is among them, otherwise the first.
    """
    predicted, right = probabilities.argmax(1), targets
    if targets.ndim > 1:
        right = np.where(_top(probabilities, targets)[1], predicted, targets.argmax(1))
    return confusion_matrix(right, predicted, labels=list(range(len(labels)))).tolist()


def reliability_of(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    """Return the bins of the reliability diagram of the likeliest labels."""
    return reliability(*_top(probabilities, targets))


def mistakes(
    probabilities: np.ndarray, targets: np.ndarray, examples: Sequence[LabelledExample], labels: Sequence[str]
) -> list[dict]:
    """Return the most confident wrong predictions: often the label is wrong, not the model."""
    confidence, right = _top(probabilities, targets)
    worst = [row for row in np.argsort(-confidence, kind="stable") if not right[row]][:MISTAKES]
    return [
        {
            "identity": examples[row].identity or examples[row].key[:12],
            "labels": list(examples[row].labels),
            "predicted": labels[int(probabilities[row].argmax())],
            "probability": _rounded(confidence[row]),
        }
        for row in worst
    ]


def _top(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (probability of the likeliest label, whether it is right), each (texts,)."""
    best = probabilities.argmax(1)
    right = targets[np.arange(len(best)), best] > 0.5 if targets.ndim > 1 else best == targets
    return probabilities.max(1), right


def _rounded(value: float) -> float:
    return round(float(value), 4)
