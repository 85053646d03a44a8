"""The figures of a classifier on a test split, the same for ours and for the baselines."""

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
from models.recipes.finetune.examples import Example

MISTAKES = 20


def figures(probabilities: np.ndarray, targets: np.ndarray, calibration: Calibration) -> dict[str, Any]:
    """Accuracy (all labels of a text right, where it may have several), F1, calibration and coverage."""
    guessed = predictions(probabilities, calibration)
    confidence, right = _top(probabilities, targets)
    limits = np.array(calibration.thresholds)[probabilities.argmax(1)]
    sure = confidence >= limits
    exact = (guessed == targets).all(1) if targets.ndim > 1 else guessed == targets
    return {
        "texts": len(targets),
        "accuracy": _rounded(exact.mean()),
        "macro_f1": _rounded(f1_score(targets, guessed, average="macro", zero_division=0)),
        "micro_f1": _rounded(f1_score(targets, guessed, average="micro", zero_division=0)),
        "ece": _rounded(calibration_error(confidence, right)),
        "coverage_at_97": _rounded(coverage_at(PRECISION, confidence, right)),
        "coverage_sure": _rounded(sure.mean()),
        "precision_of_sure": _rounded(right[sure].mean()) if sure.any() else None,
    }


def predictions(probabilities: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Label places, or 0 and 1 per label where a text may have several."""
    return (probabilities > 0.5).astype(int) if calibration.multi else probabilities.argmax(1)


def per_class(
    probabilities: np.ndarray, targets: np.ndarray, calibration: Calibration, labels: Sequence[str]
) -> list[dict]:
    """Precision, recall, F1, support and threshold of every label."""
    guessed = predictions(probabilities, calibration)
    places = None if targets.ndim > 1 else list(range(len(labels)))
    rows = zip(
        labels,
        *precision_recall_fscore_support(targets, guessed, labels=places, zero_division=0),
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
    """Rows are the right labels, columns the given ones. Of a text with several labels the given one counts where it is among
    them, else the first."""
    given, right = probabilities.argmax(1), targets
    if targets.ndim > 1:
        right = np.where(_top(probabilities, targets)[1], given, targets.argmax(1))
    return confusion_matrix(right, given, labels=list(range(len(labels)))).tolist()


def reliability_of(probabilities: np.ndarray, targets: np.ndarray) -> list[dict[str, float]]:
    return reliability(*_top(probabilities, targets))


def mistakes(
    probabilities: np.ndarray, targets: np.ndarray, examples: Sequence[Example], labels: Sequence[str]
) -> list[dict]:
    """The most confident wrong verdicts: often the label is wrong, not the model."""
    confidence, right = _top(probabilities, targets)
    worst = [row for row in np.argsort(-confidence, kind="stable") if not right[row]][:MISTAKES]
    return [
        {
            "identity": examples[row].identity or examples[row].key[:12],
            "labels": list(examples[row].labels),
            "given": labels[int(probabilities[row].argmax())],
            "probability": _rounded(confidence[row]),
        }
        for row in worst
    ]


def _top(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(probability of the first label, whether it is right)."""
    best = probabilities.argmax(1)
    right = targets[np.arange(len(best)), best] > 0.5 if targets.ndim > 1 else best == targets
    return probabilities.max(1), right


def _rounded(value: float) -> float:
    return round(float(value), 4)
