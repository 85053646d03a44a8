"""From logits to calibrated probabilities, thresholds that guarantee a precision, and the measures of both. NumPy
alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The share of right answers that predictions above their label's threshold should reach.
PRECISION = 0.97
#: Bounds of a threshold: below the first two labels may look alike, above the second nothing passes.
LOWEST, HIGHEST = 0.5, 0.995
#: A label with fewer calibration predictions than this gets its threshold from all labels together.
FEW = 40
#: The 90 % point of the normal distribution.
Z_90 = 1.2816
#: A loss too small to matter by itself, in nats: about a hundredth of the right label's probability.
NEGLIGIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into predictions. ``thresholds`` are in the order of the labels.

    With ``multi``, a text may have several labels.
    """

    temperature: float
    thresholds: tuple[float, ...]
    multi: bool = False

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Return probabilities (texts, labels): rows sum to 1, except where a text may have several labels."""
        scaled = logits.astype(np.float64) / self.temperature
        if self.multi:
            return 1.0 / (1.0 + np.exp(-scaled))
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def logits(self, probabilities: np.ndarray) -> np.ndarray:
        """Return logits of probabilities, the reverse of `probabilities`.

        For rows that sum to 1 they are known up to a constant per row, which changes no probability.
        """
        safe = probabilities.clip(1e-300, None)
        return self.temperature * (np.log(safe) - np.log1p(-safe.clip(None, 1 - 1e-12)) if self.multi else np.log(safe))


def calibrate(logits: np.ndarray, targets: np.ndarray, precision: float = PRECISION) -> Calibration:
    """Fit temperature (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) and thresholds.

    ``logits`` (texts, labels) are those of a calibration split; ``targets`` label numbers, or (texts, labels) of 0 and
    1.
    """
    multi = targets.ndim > 1
    grid = np.exp(np.linspace(np.log(0.1), np.log(100.0), 500))
    best = int(np.argmin([doubted_loss(logits / temperature, targets) for temperature in grid]))
    temperature = round(float(grid[best]), 4)
    probabilities = Calibration(temperature, (), multi).probabilities(logits)
    return Calibration(temperature, thresholds(probabilities, targets, precision), multi)


def doubted_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """Return the mean log loss of n texts, each taken as right with probability (n + 1) / (n + 2) only.

    The doubt (Platt, "Probabilistic Outputs for Support Vector Machines", 1999) keeps a split without a mistake from
    asking for a temperature of nought, at which every text, whatever its topic, would be classified with certainty. On
    45 texts it did: 79 % of questions about something else were above their threshold.
    """
    doubt = 1.0 / (len(targets) + 2)
    z = logits.astype(np.float64)
    if targets.ndim > 1:
        return float((np.logaddexp(0, z) - np.abs(targets - doubt) * z).mean())
    right = z[np.arange(len(z)), targets]
    # The doubt is shared by the other labels.
    wrong = (z.sum(1) - right) / (z.shape[1] - 1)
    return float(log_losses(z, targets).mean() + doubt * (right - wrong).mean())


def log_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the negative log-likelihood of each text's right label, in nats; the mean over labels where it has
    several.
    """
    z = logits.astype(np.float64)
    if targets.ndim > 1:
        return (np.logaddexp(0, z) - targets * z).mean(1)
    top = z.max(1)
    return np.log(np.exp(z - top[:, None]).sum(1)) + top - z[np.arange(len(z)), targets]


def blend(first: np.ndarray, second: np.ndarray, targets: np.ndarray) -> float:
    """Return the factor of ``second``, the simpler one, in the logits ``first + factor * second``.

    It is the largest factor that explains the targets no worse than the best one, up to one standard error of the
    difference over the texts (the one-standard-error rule of Breiman et al., "Classification and Regression Trees",
    1984, here paired); or by no more than `NEGLIGIBLE`, with no more texts wrong than chance allows. On the benchmark
    sets whose texts are like those trained on, the second allowance cost 0.15 points at most; its gain where sources
    are unseen is in docs/decisions/0059.
    """
    # The simpler the larger: the most of the second comes first.
    grid = [*np.exp(np.linspace(np.log(200), np.log(0.1), 45)), 0.0]
    losses = {factor: losses_at_best(first + factor * second, targets) for factor in grid}
    best = min(losses, key=lambda factor: losses[factor].mean())
    wrong = _wrong(first + best * second, targets)

    def as_good(factor: float) -> bool:
        excess = losses[factor] - losses[best]
        more_wrong = _wrong(first + factor * second, targets) - wrong
        return (excess.mean() <= NEGLIGIBLE and _within_one_error(more_wrong)) or _within_one_error(excess)

    return float(next(filter(as_good, losses)))


def simplest(losses: dict[float, np.ndarray]) -> float:
    """Return the first choice whose losses are no worse on average than the best one's, up to one standard error.

    ``losses`` are per choice, one per text; choices come in their order, the simplest first.
    """
    best = min(losses.values(), key=np.mean)
    return float(next(choice for choice, own in losses.items() if _within_one_error(own - best)))


def _within_one_error(excess: np.ndarray) -> bool:
    """Return whether an excess, per text, is at most one standard error of its mean."""
    return bool(excess.mean() <= excess.std() / np.sqrt(len(excess)))


def _wrong(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return 1.0 for each text that is misclassified; where it may have several labels, if one of them is."""
    missed = ((logits > 0) != (targets > 0.5)).any(1) if targets.ndim > 1 else logits.argmax(1) != targets
    return missed.astype(np.float64)


def losses_at_best(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return each text's loss at the temperature that suits all best."""
    temperatures = np.exp(np.linspace(np.log(0.1), np.log(100), 50))
    return min((log_losses(logits / temperature, targets) for temperature in temperatures), key=np.mean)


def thresholds(probabilities: np.ndarray, targets: np.ndarray, precision: float) -> tuple[float, ...]:
    """Return per label the lowest probability from which on its predictions reach ``precision`` on the calibration
    texts.

    The precision is the lower end of its interval (see `_lowest`): a label that was right on five texts has proved
    little. Labels with few texts take the threshold of all labels together.
    """
    multi = targets.ndim > 1
    best, top = probabilities.argmax(1), probabilities.max(1)
    right = targets[np.arange(len(best)), best] > 0.5 if multi else best == targets
    common = _lowest(top, right, precision)
    limits = []
    for label in range(probabilities.shape[1]):
        predicted = probabilities[:, label] > 0.5 if multi else best == label
        scores = probabilities[predicted, label]
        hits = targets[predicted, label] > 0.5 if multi else right[predicted]
        own = _lowest(scores, hits, precision) if len(scores) >= FEW else common
        limits.append(round(float(np.clip(own, LOWEST, HIGHEST)), 4))
    return tuple(limits)


def _lowest(scores: np.ndarray, right: np.ndarray, precision: float) -> float:
    """Return the lowest score at which the share of right ones, at it and above, is at least ``precision``.

    Not the observed share, which would be the luckiest of many, but the lower end of its interval (Wilson, JASA 22,
    1927; one-sided 90 %).
    """
    if not len(scores):
        return HIGHEST
    order = np.argsort(-scores, kind="stable")
    n = np.arange(1, len(order) + 1)
    share = np.cumsum(right[order]) / n
    spread = Z_90 * np.sqrt(share * (1 - share) / n + Z_90**2 / (4 * n**2))
    enough = (share + Z_90**2 / (2 * n) - spread) / (1 + Z_90**2 / n) >= precision
    return float(scores[order][np.nonzero(enough)[0][-1]]) if enough.any() else HIGHEST


def fewest(precision: float) -> int:
    """Return how many calibration texts, all of them right, prove a precision by the bound of `_lowest`."""
    return math.ceil(Z_90**2 * precision / (1 - precision))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error with equal bins (Guo et al. 2017): 0 is perfectly calibrated."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[places == b].mean() - right[places == b].mean()) * (places == b).mean() for b in set(places)]
    return float(sum(gaps))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Return per bin of confidence its mean confidence, the share that was right, and the number of texts."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": round(float(confidence[places == b].mean()), 4),
            "accuracy": round(float(right[places == b].mean()), 4),
            "texts": int((places == b).sum()),
        }
        for b in range(bins)
        if (places == b).any()
    ]


def coverage_at(precision: float, confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the share of texts that could be decided automatically at that precision, most confident first."""
    order = np.argsort(-confidence, kind="stable")
    precise = np.cumsum(right[order]) / np.arange(1, len(order) + 1) >= precision
    return float((np.nonzero(precise)[0][-1] + 1) / len(order)) if precise.any() else 0.0
