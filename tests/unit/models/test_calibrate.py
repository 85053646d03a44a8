"""Honest probabilities: what calibration has to repair, thresholds that hold, measures against hand-made cases."""

from __future__ import annotations

import numpy as np
import pytest

from models.recipes.finetune.calibrate import (
    HIGHEST,
    NEGLIGIBLE,
    Calibration,
    blend,
    calibrate,
    calibration_error,
    coverage_at,
    fewest,
    losses_at_best,
    simplest,
    thresholds,
)


def overconfident(count: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true probabilities are softmax(logits / factor)."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (count, 4))
    powers = np.exp(honest)
    chances = powers / powers.sum(1, keepdims=True)
    targets = (chances.cumsum(1) > rng.random((count, 1))).argmax(1)
    return honest * factor, targets


def test_the_temperature_undoes_overconfidence() -> None:
    logits, targets = overconfident(6000, 3.0)
    calibration = calibrate(logits, targets)
    assert calibration.temperature == pytest.approx(3.0, rel=0.1)
    new_logits, new_targets = overconfident(6000, 3.0, seed=1)
    before = Calibration(1.0, ()).probabilities(new_logits)
    after = calibration.probabilities(new_logits)
    error = [calibration_error(p.max(1), p.argmax(1) == new_targets) for p in (before, after)]
    assert error[1] < 0.03 < error[0]


@pytest.mark.parametrize("multi", [False, True])
def test_a_few_texts_without_a_mistake_do_not_make_everything_certain(multi: bool) -> None:
    """Given 45 calibration texts that are all right, When something between the labels comes, Then it stays below."""
    rng = np.random.default_rng(0)
    targets = np.arange(45) % 5
    logits = rng.normal(0, 0.5, (45, 5))
    logits[np.arange(45), targets] += 6
    calibration = calibrate(logits - 3, np.eye(5)[targets] if multi else targets)
    mean = calibration.probabilities(logits - 3).max(1).mean()
    assert mean == pytest.approx(46 / 47, abs=0.01)
    assert calibration.probabilities(np.array([[-1.0, 0.5, -2.0, -2.0, -2.0]])).max() < min(calibration.thresholds)


def test_predictions_above_threshold_reach_the_precision_on_new_texts() -> None:
    coverage, precise = [], []
    for seed in range(8):
        calibration = calibrate(*overconfident(6000, 2.0, seed), precision=0.95)
        logits, targets = overconfident(6000, 2.0, seed + 10)
        probabilities = calibration.probabilities(logits)
        best = probabilities.argmax(1)
        confident = probabilities.max(1) >= np.array(calibration.thresholds)[best]
        coverage.append(confident.mean())
        precise.append((best == targets)[confident].mean())
    assert 0.05 < np.mean(coverage) < 0.9
    assert np.mean(precise) >= 0.95


def test_a_label_without_a_confident_text_has_the_highest_threshold() -> None:
    probabilities = np.array([[0.6, 0.4]] * 40)
    limits = thresholds(probabilities, np.ones(40, dtype=int), 0.97)
    assert limits[0] == HIGHEST


@pytest.mark.parametrize("precision", [0.9, 0.97])
def test_so_many_texts_without_a_mistake_prove_a_precision(precision: float) -> None:
    def limit(texts: int) -> float:
        return thresholds(np.array([[0.6, 0.4]] * texts), np.zeros(texts, dtype=int), precision)[0]

    assert (limit(fewest(precision) - 1), limit(fewest(precision))) == (HIGHEST, 0.6)


def test_several_labels_are_calibrated_one_by_one() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(0, 2, (5000, 3))
    targets = (1 / (1 + np.exp(-honest)) > rng.random(honest.shape)).astype(np.float32)
    calibration = calibrate(honest * 2.5, targets)
    assert calibration.multi
    assert calibration.temperature == pytest.approx(2.5, rel=0.1)
    assert calibration.probabilities(honest).shape == honest.shape


def test_measures_on_cases_worked_out_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, True, True, False])
    assert calibration_error(confidence, right) == pytest.approx(0.05)
    assert coverage_at(0.97, confidence, right) == pytest.approx(0.75)
    assert coverage_at(0.5, confidence, right) == 1.0


def test_a_branch_that_knows_nothing_gets_no_weight() -> None:
    logits, targets = overconfident(2000, 1.0)
    noise = np.random.default_rng(5).normal(0, 1, logits.shape)
    assert blend(logits, noise, targets) < 0.3
    assert blend(noise, logits, targets) > 1.0


def test_of_two_equal_branches_the_simpler_one_leads() -> None:
    """Where the texts at hand cannot tell them apart, the network's advantage is luck."""
    logits, targets = overconfident(500, 1.0)
    assert blend(logits, logits, targets) > 50.0
    wrong = np.where(np.arange(len(targets)) % 2, targets, (targets + 1) % 4)
    worse = np.eye(4)[wrong] * 2.0
    assert blend(logits, worse, targets) < 5.0


@pytest.mark.parametrize("multi", [False, True])
def test_logits_come_back_out_of_probabilities(multi: bool) -> None:
    calibration = Calibration(2.5, (), multi)
    logits = np.random.default_rng(1).normal(0, 20, (50, 6))
    back = calibration.logits(calibration.probabilities(logits))
    shift = 0 if multi else (logits - back).mean(1, keepdims=True)
    sound = np.abs(logits) < 60
    assert np.allclose((back + shift)[sound], logits[sound], atol=1e-3)


def test_a_costlier_choice_has_to_gain_more_than_luck() -> None:
    rng = np.random.default_rng(7)
    plain = rng.normal(1.0, 0.5, 40)
    lucky, better = plain - 0.01 + rng.normal(0.0, 0.3, 40), plain - 0.5 + rng.normal(0.0, 0.3, 40)
    assert simplest({0.0: plain, 1.0: lucky}) == 0.0
    assert simplest({0.0: plain, 1.0: better}) == 1.0
    assert simplest({0.0: plain, 0.5: plain}) == 0.0


def test_a_negligible_loss_does_not_decide_unless_texts_go_wrong_by_it() -> None:
    """Many texts tell the smallest difference of two blends from luck; that does not make it matter."""
    place = np.arange(10_000)
    targets, both_wrong, hard = place % 4, place % 50 == 0, place % 200 == 1
    logits = np.eye(4)[np.where(both_wrong, (targets + 1) % 4, targets)]
    network, words = 3.0 * logits, 0.05 * logits
    words[hard] = -0.01 * logits[hard]  # of which the words know less, though not enough to be wrong
    over = losses_at_best(network + 200 * words, targets) - losses_at_best(network + words, targets)
    assert 3 * over.std() / 100 < over.mean() < NEGLIGIBLE
    assert blend(network, words, targets) == pytest.approx(200.0)
    words[hard] = -0.02 * logits[hard]  # by now enough, where the words weigh 150 times as much
    assert blend(network, words, targets) < 150.0
