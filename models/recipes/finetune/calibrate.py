"""From logits to honest probabilities, thresholds that hold a precision, and the measures of both. NumPy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: The share of right answers that a verdict over its label's threshold should reach.
PRECISION = 0.97
#: No threshold under or over these: under the first two labels may look alike, over the second nothing passes.
LOWEST, HIGHEST = 0.5, 0.995
#: A label with fewer calibration verdicts than this has its threshold from all labels together.
FEW = 40
#: The 90 % point of the normal distribution.
LUCK = 1.2816
#: A loss too small to matter by itself, in nats: a hundredth of the probability that the right label is given.
UNNOTICED = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns logits into verdicts. ``thresholds`` are in the order of the labels."""

    temperature: float
    thresholds: tuple[float, ...]
    multi: bool = False

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(texts, labels): rows sum to 1, or each stands for itself where a text may have several labels."""
        scaled = logits.astype(np.float64) / self.temperature
        if self.multi:
            return 1.0 / (1.0 + np.exp(-scaled))
        powers = np.exp(scaled - scaled.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def logits(self, probabilities: np.ndarray) -> np.ndarray:
        """The reverse of `probabilities`; of rows that sum to 1 only up to a constant a row, which means nothing to them."""
        held = probabilities.clip(1e-300, None)
        return self.temperature * (np.log(held) - np.log1p(-held.clip(None, 1 - 1e-12)) if self.multi else np.log(held))


def calibrate(logits: np.ndarray, targets: np.ndarray, precision: float = PRECISION) -> Calibration:
    """Temperature (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017) and thresholds on a calibration split.

    ``logits`` (texts, labels); ``targets`` label places, or (texts, labels) of 0 and 1.
    """
    multi = targets.ndim > 1
    heat = _temperature(logits, targets)
    plain = Calibration(heat, (), multi).probabilities(logits)
    return Calibration(heat, thresholds(plain, targets, precision), multi)


def _temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    grid = np.exp(np.linspace(np.log(0.1), np.log(100.0), 500))
    return round(float(grid[int(np.argmin([_doubted_loss(logits / t, targets) for t in grid]))]), 4)


def _doubted_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """The mean log loss of n texts of which each is right with (n + 1) / (n + 2) only (Platt, "Probabilistic Outputs for Support
    Vector Machines", 1999). Without that doubt a split without a mistake asks for a temperature of nought: every text, whatever
    it is about, would be named with certainty. On 45 texts it did: 79 % of questions about something else were sure."""
    doubt = 1.0 / (len(targets) + 2)
    z = logits.astype(np.float64)
    if targets.ndim > 1:
        return float((np.logaddexp(0, z) - np.abs(targets - doubt) * z).mean())
    right = z[np.arange(len(z)), targets]
    # The doubt is shared by the other labels.
    wrong = (z.sum(1) - right) / (z.shape[1] - 1)
    return float(log_losses(z, targets).mean() + doubt * (right - wrong).mean())


def log_losses(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The negative log-likelihood, in nats, of each text's right label; where a text may have several labels, their mean."""
    z = logits.astype(np.float64)
    if targets.ndim > 1:
        return (np.logaddexp(0, z) - targets * z).mean(1)
    top = z.max(1)
    return np.log(np.exp(z - top[:, None]).sum(1)) + top - z[np.arange(len(z)), targets]


def blend(first: np.ndarray, second: np.ndarray, targets: np.ndarray) -> float:
    """The factor of ``second``, the simpler one, in ``first + factor * second``.

    The largest factor that explains the targets no worse than the best does, up to one standard error of the difference over the
    texts (the one-standard-error rule of Breiman et al., "Classification and Regression Trees", 1984, here paired), or else by no more
    than `UNNOTICED` and with no more texts wrong than luck. On the README's sets whose texts are like those
    trained on the second allowance cost 0.15 points at most; what it gives where sources are unseen stands in models/README.md.
    """
    # The simpler the larger: the most of the second comes first.
    grid = [*np.exp(np.linspace(np.log(200), np.log(0.1), 45)), 0.0]
    found = {factor: losses_at_best(first + factor * second, targets) for factor in grid}
    best = min(found, key=lambda factor: found[factor].mean())
    wrong = _wrong(first + best * second, targets)

    def as_good(factor: float) -> bool:
        over = found[factor] - found[best]
        small = over.mean() <= UNNOTICED and _luck(_wrong(first + factor * second, targets) - wrong)
        return small or _luck(over)

    return float(next(filter(as_good, found)))


def simplest(found: dict[float, np.ndarray]) -> float:
    """The first choice whose losses, one a text, are no worse on average than the best one's, up to one standard error of the
    difference. Choices come in their order, the simplest first."""
    best = min(found.values(), key=np.mean)
    return float(next(choice for choice, losses in found.items() if _luck(losses - best)))


def _luck(more: np.ndarray) -> bool:
    """Whether what is more, text by text, is no more than one standard error of its mean."""
    return bool(more.mean() <= more.std() / np.sqrt(len(more)))


def _wrong(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """1.0 for each text whose label is not the likeliest, or, with several, whose labels are not those that are likely."""
    missed = ((logits > 0) != (targets > 0.5)).any(1) if targets.ndim > 1 else logits.argmax(1) != targets
    return missed.astype(np.float64)


def losses_at_best(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each text's loss at the temperature that suits all best."""
    heats = np.exp(np.linspace(np.log(0.1), np.log(100), 50))
    return min((log_losses(logits / heat, targets) for heat in heats), key=np.mean)


def thresholds(probabilities: np.ndarray, targets: np.ndarray, precision: float) -> tuple[float, ...]:
    """Per label the lowest probability from which on its verdicts reach ``precision`` on the calibration texts, by the lower end
    of what those texts allow (see `_lowest`): a label that was right on five texts has proved little. Labels with few texts take
    the threshold of all labels together."""
    multi = targets.ndim > 1
    best, top = probabilities.argmax(1), probabilities.max(1)
    right = targets[np.arange(len(best)), best] > 0.5 if multi else best == targets
    common = _lowest(top, right, precision)
    found = []
    for place in range(probabilities.shape[1]):
        mine = probabilities[:, place] > 0.5 if multi else best == place
        scores = probabilities[mine, place]
        hits = targets[mine, place] > 0.5 if multi else right[mine]
        own = _lowest(scores, hits, precision) if len(scores) >= FEW else common
        found.append(round(float(np.clip(own, LOWEST, HIGHEST)), 4))
    return tuple(found)


def _lowest(scores: np.ndarray, right: np.ndarray, precision: float) -> float:
    """The lowest score at which the share of right ones among it and all above is at least ``precision``: not the share that was
    seen, which is chosen as the luckiest of many, but the lower end of its interval (Wilson, JASA 22, 1927; one-sided 90 %)."""
    if not len(scores):
        return HIGHEST
    order = np.argsort(-scores, kind="stable")
    n = np.arange(1, len(order) + 1)
    seen = np.cumsum(right[order]) / n
    spread = LUCK * np.sqrt(seen * (1 - seen) / n + LUCK**2 / (4 * n**2))
    enough = (seen + LUCK**2 / (2 * n) - spread) / (1 + LUCK**2 / n) >= precision
    return float(scores[order][np.nonzero(enough)[0][-1]]) if enough.any() else HIGHEST


def fewest(precision: float) -> int:
    """How many calibration texts, all of them right, prove a precision by the bound that `_lowest` takes."""
    return math.ceil(LUCK**2 * precision / (1 - precision))


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error with equal bins (Guo et al. 2017): 0 is honest."""
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[places == b].mean() - right[places == b].mean()) * (places == b).mean() for b in set(places)]
    return float(sum(gaps))


def reliability(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Per bin of confidence: its mean confidence, the share that was right, and the number of texts."""
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
    """The share of texts that could be answered alone at that precision, most confident first."""
    order = np.argsort(-confidence, kind="stable")
    precise = np.cumsum(right[order]) / np.arange(1, len(order) + 1) >= precision
    return float((np.nonzero(precise)[0][-1] + 1) / len(order)) if precise.any() else 0.0


def auroc(inside: np.ndarray, outside: np.ndarray) -> float:
    """The probability that a text inside the scope scores higher than one outside it; ties count half."""
    scores = np.concatenate([inside, outside])
    order = np.argsort(scores, kind="stable")
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(1, len(scores) + 1)
    for value in np.unique(scores[np.isin(scores, inside)]):
        same = scores == value
        if same.sum() > 1:
            ranks[same] = ranks[same].mean()
    n = len(inside)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(outside)))
