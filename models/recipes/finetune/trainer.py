"""The training of a classifier: batches, loss, the running mean of its weights, early stopping, checkpoints."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from models.recipes.device import device, mixed, padded_tensors
from models.recipes.finetune.base import Base
from models.recipes.finetune.calibrate import losses_at_best
from models.recipes.finetune.examples import Dataset
from models.recipes.finetune.linear import planes
from models.recipes.finetune.network import ClassifierNetwork
from models.recipes.finetune.outputs import logits_of, mean_states
from models.recipes.finetune.settings import Epoch, Hyperparameters
from models.recipes.training_loop import CHECKPOINT, TrainingLoop, parameter_groups, warm_cosine

#: Batches of rows of similar length are cut from piles of so many batches.
PILE = 50
#: The learning rate of the token table, as a factor: most of its rows occur rarely.
TABLE_FACTOR = 0.5


class Run:
    """One training: the network, the running mean of its weights (`mean`), the best of these so far, and the curve.

    ``ids`` are the token ids of the texts of the splits "train" and "calibration".
    """

    def __init__(
        self, network: ClassifierNetwork, base: Base, data: Dataset, ids: dict[str, list], settings: Hyperparameters
    ) -> None:
        self.network, self.base, self.data, self.ids, self.settings = network, base, data, ids, settings
        self.targets = {name: data.targets(getattr(data, name)) for name in ids}
        self.rng = random.Random(settings.seed)
        self.weights = class_weights(self.targets["train"], len(data.labels)).to(device())
        self.steps_per_epoch = sum(1 for _ in self._batches(random.Random(0)))
        self.mean = deepcopy(network).eval()
        self.curve: list[Epoch] = []
        self.top: dict[str, torch.Tensor] | None = None
        table = [network.backbone.get_input_embeddings().weight]
        special = [(network.head.parameters(), settings.head_factor), (table, TABLE_FACTOR)]
        steps = max(1, self.steps_per_epoch * settings.epochs)
        self.loop = TrainingLoop(
            network,
            parameter_groups(network, settings.rate, settings.weight_decay, special),
            self.batch_loss,
            lambda loop: warm_cosine(loop.step, steps, max(1, int(0.06 * steps))),
            {"settings": settings.trained_by(), "data": data.fingerprint},
            self.rng,
        )

    @torch.no_grad()
    def fit_head(self) -> None:
        """Initialise the linear layer with the best fit on the untrained backbone, which then has less to unlearn."""
        count = len(self.ids["train"])
        rows = sorted(self.rng.sample(range(count), min(self.settings.start_texts, count)))
        states = mean_states(self.network, [self._view(self.ids["train"][row], 0.0) for row in rows])
        scaler = StandardScaler().fit(states)
        coef, bias = regression(scaler.transform(states), self.targets["train"][rows], len(self.data.labels), 0.3)
        coef = coef / scaler.scale_
        self.network.head.weight.copy_(torch.from_numpy(coef).float())
        self.network.head.bias.copy_(torch.from_numpy(bias - coef @ scaler.mean_).float())
        self.mean.load_state_dict(self.network.state_dict())

    def train(self, work: Path) -> list[Epoch]:
        """Train until the plan ends or ``patience`` epochs gained nothing; a checkpoint follows each epoch."""
        work.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.curve), self.settings.epochs):
            if self._epochs_since_best() >= self.settings.patience:
                break
            began = time.monotonic()
            train_loss = self.train_epoch(number)
            loss, accuracy = self.evaluate()
            self.curve.append(Epoch(number + 1, train_loss, loss, accuracy, time.monotonic() - began))
            if self._epochs_since_best() == 0:
                self.top = {name: value.clone() for name, value in self.mean.state_dict().items()}
            curve = [asdict(epoch) for epoch in self.curve]
            self.loop.save(work / CHECKPOINT, mean=self.mean.state_dict(), top=self.top, curve=curve)
        return self.curve

    def train_epoch(self, number: int) -> float:
        """Train for one epoch, counted from 0, and return its mean loss."""
        self.network.train()
        batches = self._batches(self.rng)
        return self.loop.run(batches, f"epoch {number + 1}", self.steps_per_epoch, after_step=self._average)

    def restore(self, file: Path) -> None:
        """Continue from a checkpoint; raises Refused("conflict") when it belongs to other data or settings."""
        extra = self.loop.restore(file)
        self.mean.load_state_dict(extra["mean"])
        self.top, self.curve = extra["top"], [Epoch(**row) for row in extra["curve"]]

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch; 0 before the first."""
        return self.curve[-1 - self._epochs_since_best()].number if self.curve else 0

    def best(self) -> ClassifierNetwork:
        """Return the mean network of the best epoch."""
        if self.top is not None:
            self.mean.load_state_dict(self.top)
        return self.mean

    def calibration_losses(self, network: ClassifierNetwork) -> np.ndarray:
        """Return a network's loss on each calibration text, cut to the crop, at the temperature that suits all best."""
        return losses_at_best(logits_of(network, self.ids["calibration"]), self.targets["calibration"])

    def _epochs_since_best(self) -> int:
        if not self.curve:
            return 0
        # Accuracy decides, loss where it is equal: with many labels the last epochs only become more certain.
        order = [(round(epoch.accuracy, 4), -epoch.loss) for epoch in self.curve]
        return len(order) - 1 - max(range(len(order)), key=lambda place: order[place])

    def batch_loss(self, rows: Sequence[int]) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss on a batch of training rows, and no further metrics."""
        views = [self._view(self.ids["train"][row], self.settings.masking) for row in rows]
        targets = torch.from_numpy(self.targets["train"][rows]).to(device())
        with mixed():
            logits = self.network(*padded_tensors(views)).float()
        return self._loss(logits, targets, self.settings.smoothing), {}

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        if targets.ndim > 1:
            return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weights)
        return functional.cross_entropy(logits, targets, weight=self.weights, label_smoothing=smoothing)

    @torch.no_grad()
    def _average(self) -> None:
        """Update the running mean over about the last ``average`` of an epoch: an average of many late networks."""
        share = 1.0 / min(self.loop.step, max(2.0, self.settings.average * self.steps_per_epoch))
        for mean, now in zip(self.mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, share)

    def _batches(self, rng: random.Random) -> Iterator[list[int]]:
        """Yield batches of training rows of similar length, in a new order every time."""
        rows = list(range(len(self.ids["train"])))
        rng.shuffle(rows)
        lengths = [min(self.settings.crop, len(ids)) for ids in self.ids["train"]]
        size = PILE * self.settings.batch
        batches: list[list[int]] = []
        for start in range(0, len(rows), size):
            pile = sorted(rows[start : start + size], key=lengths.__getitem__)
            batches += grouped(pile, lengths, self.settings.batch, self.settings.step_tokens)
        rng.shuffle(batches)
        yield from batches

    def _view(self, text: Sequence[int], masking: float) -> list[int]:
        """Return a text as training shows it: one part of it, some of its tokens hidden."""
        inner, room = self.base.inner(text), max(4, self.settings.crop - self.base.frame)
        if len(inner) > room:
            start = 0 if self.rng.random() < 0.5 else self.rng.randrange(len(inner) - room + 1)
            inner = inner[start : start + room]
        hidden = [self.base.unknown if masking and self.rng.random() < masking else token for token in inner]
        return self.base.framed(hidden)

    def evaluate(self) -> tuple[float, float]:
        """Return (loss, accuracy) of the mean network on the calibration split, texts cut to the crop."""
        logits, targets = logits_of(self.mean, self.ids["calibration"]), self.targets["calibration"]
        right = ((logits > 0) == (targets > 0.5)).all(1) if targets.ndim > 1 else logits.argmax(1) == targets
        loss = self._loss(torch.from_numpy(logits).to(device()), torch.from_numpy(targets).to(device()), 0.0)
        return float(loss), float(right.mean())


def class_weights(targets: np.ndarray, labels: int) -> torch.Tensor:
    """Return a weight per label: the root of how rare it is, 4 at most."""
    if targets.ndim > 1:
        share = targets.mean(0).clip(1e-6)
        return torch.from_numpy(np.sqrt((1 - share) / share).clip(1.0, 4.0).astype(np.float32))
    counts = np.bincount(targets, minlength=labels).clip(1)
    return torch.from_numpy(np.sqrt(counts.mean() / counts).clip(0.5, 4.0).astype(np.float32))


def grouped(rows: Sequence[int], lengths: Sequence[int], size: int, tokens: int) -> Iterator[list[int]]:
    """Yield consecutive rows, at most ``size`` and ``tokens`` with padding; ``rows`` are sorted by ``lengths``."""
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and end - start < size and lengths[rows[end]] * (end + 1 - start) <= tokens:
            end += 1
        yield list(rows[start:end])
        start = end


def regression(
    inputs: np.ndarray, targets: np.ndarray, labels: int, strength: float, steps: int = 150
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression on ``inputs`` (texts, width) with the penalty 1 / ``strength``.

    Returns weights (labels, width) and biases (labels,).
    """
    machine = LogisticRegression(C=strength, max_iter=steps)
    machine = OneVsRestClassifier(machine) if targets.ndim > 1 else machine
    # Of two classes, the difference of both scores is the log-odds.
    return planes(machine.fit(inputs, targets), labels, absent=-5.0, two=0.5)
