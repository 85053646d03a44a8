"""The weights of a fitted linear classifier of scikit-learn, one row per label."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC


def planes(
    machine: LogisticRegression | LinearSVC | OneVsRestClassifier, labels: int, absent: float, two: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights (labels, width) and biases (labels,).

    A machine for two classes has one plane: it serves both, with either sign, times ``two``. Labels without an example
    have no plane and get the bias ``absent``.
    """
    if isinstance(machine, OneVsRestClassifier):
        parts = machine.estimators_
        weights = np.vstack([np.atleast_2d(part.coef_) for part in parts])
        return weights, np.array([float(np.ravel(part.intercept_)[0]) for part in parts])
    coef, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        coef, bias = two * np.vstack([-coef, coef]), two * np.array([-bias[0], bias[0]])
    weights, biases = np.zeros((labels, coef.shape[1])), np.full(labels, absent)
    weights[machine.classes_], biases[machine.classes_] = coef, bias
    return weights, biases
