"""One training of a network: its steps, the running mean of its weights, its checkpoints."""

from __future__ import annotations

import math
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
from tqdm import tqdm

from models.recipes.device import device, mixed
from models.recipes.finetune.base import Base
from models.recipes.finetune.calibrate import losses_at_best
from models.recipes.finetune.examples import Dataset
from models.recipes.finetune.network import Classifier
from models.recipes.finetune.outputs import logits_of, mean_states
from models.recipes.finetune.settings import Epoch, Settings, trained_by
from pipeline.errors import Refused
from pipeline.onnx import batches

CHECKPOINT = "checkpoint.pt"


class Run:
    """One training: the network, the running mean of its weights, and the best epoch so far."""

    def __init__(
        self, network: Classifier, base: Base, data: Dataset, ids: dict[str, list], settings: Settings
    ) -> None:
        self.network, self.base, self.data, self.ids, self.settings = network, base, data, ids, settings
        self.targets = {name: data.targets(getattr(data, name)) for name in ids}
        self.rng = random.Random(settings.seed)
        self.weights = class_weights(self.targets["train"], len(data.labels)).to(device())
        self.optimiser = _optimiser(network, settings)
        self.steps_per_epoch = sum(1 for _ in self._order(random.Random(0)))
        self.mean = deepcopy(network).eval()
        self.curve: list[Epoch] = []
        self.top: dict[str, torch.Tensor] | None = None

    @torch.no_grad()
    def start_head(self) -> None:
        """Begin with the linear layer that fits the untrained backbone best: the backbone then has less to unlearn."""
        count = len(self.ids["train"])
        rows = sorted(self.rng.sample(range(count), min(self.settings.start_texts, count)))
        states = mean_states(self.network, [self._shown(self.ids["train"][row], 0.0) for row in rows])
        scaler = StandardScaler().fit(states)
        coef, bias = regression(scaler.transform(states), self.targets["train"][rows], len(self.data.labels), 0.3)
        coef = coef / scaler.scale_
        self.network.head.weight.copy_(torch.from_numpy(coef).float())
        self.network.head.bias.copy_(torch.from_numpy(bias - coef @ scaler.mean_).float())
        self.mean.load_state_dict(self.network.state_dict())

    def train(self, work: Path) -> list[Epoch]:
        """Epochs until the plan ends or nothing is gained any more."""
        work.mkdir(parents=True, exist_ok=True)
        for number in range(len(self.curve), self.settings.epochs):
            if self._waited() >= self.settings.patience:
                break
            began = time.monotonic()
            loss = self._epoch(number)
            measured, accuracy = self._measure()
            self.curve.append(Epoch(number + 1, loss, measured, accuracy, time.monotonic() - began))
            if self._waited() == 0:
                self.top = {name: value.clone() for name, value in self.mean.state_dict().items()}
            self._save(work / CHECKPOINT)
        return self.curve

    def repeat(self, epochs: int) -> None:
        """So many epochs of the plan, without looking at the calibration split."""
        for number in range(epochs):
            self._epoch(number)

    @property
    def epochs(self) -> int:
        """The number of the best epoch; 0 before the first."""
        return self.curve[-1 - self._waited()].number if self.curve else 0

    def best(self) -> Classifier:
        """The mean network of the best epoch."""
        if self.top is not None:
            self.mean.load_state_dict(self.top)
        return self.mean

    def _waited(self) -> int:
        """Epochs since the best one."""
        if not self.curve:
            return 0
        # Accuracy decides, loss where it is equal: with labels in plenty the last epochs only grow more certain.
        order = [(round(each.accuracy, 4), -each.loss) for each in self.curve]
        return len(order) - 1 - max(range(len(order)), key=lambda place: order[place])

    def _epoch(self, number: int) -> float:
        self.network.train()
        total = 0.0
        bar = tqdm(
            self._order(self.rng), total=self.steps_per_epoch, desc=f"epoch {number + 1}", unit="step", mininterval=5
        )
        for step, rows in enumerate(bar):
            loss = self._step(rows, number * self.steps_per_epoch + step)
            total += loss
            bar.set_postfix(loss=f"{total / (step + 1):.3f}", refresh=False)
        return total / max(1, self.steps_per_epoch)

    def _step(self, rows: Sequence[int], step: int) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * self.settings.rate * self._decay(step)
        ids, mask = _padded([self._shown(self.ids["train"][row], self.settings.masking) for row in rows])
        targets = torch.from_numpy(self.targets["train"][rows]).to(device())
        with mixed():
            logits = self.network(ids, mask).float()
        loss = self._loss(logits, targets, self.settings.smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self._average(step)
        return loss.item()

    def _loss(self, logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
        if targets.ndim > 1:
            return functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=self.weights)
        return functional.cross_entropy(logits, targets, weight=self.weights, label_smoothing=smoothing)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """The running mean over about the last ``average`` of an epoch: the mean of many late networks, for nothing."""
        share = 1.0 / min(step + 1, max(2.0, self.settings.average * self.steps_per_epoch))
        for mean, now in zip(self.mean.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(now, share)

    def _decay(self, step: int) -> float:
        total = max(1, self.steps_per_epoch * self.settings.epochs)
        warm = max(1, int(0.06 * total))
        if step < warm:
            return (step + 1) / warm
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))

    def _order(self, rng: random.Random) -> Iterator[list[int]]:
        """Batches of rows of like length, in a new order every time."""
        rows = list(range(len(self.ids["train"])))
        rng.shuffle(rows)
        crop, size = self.settings.crop, self.settings.batch
        piles = [rows[start : start + 50 * size] for start in range(0, len(rows), 50 * size)]
        made = []
        for pile in piles:
            pile.sort(key=lambda row: min(crop, len(self.ids["train"][row])))
            made += list(
                _grouped(pile, lambda row: min(crop, len(self.ids["train"][row])), size, self.settings.step_tokens)
            )
        rng.shuffle(made)
        yield from made

    def _shown(self, text: Sequence[int], masking: float) -> list[int]:
        """A text as training sees it: one part of it, some of its tokens hidden."""
        inner, room = self.base.inner(text), max(4, self.settings.crop - self.base.frame)
        if len(inner) > room:
            start = 0 if self.rng.random() < 0.5 else self.rng.randrange(len(inner) - room + 1)
            inner = inner[start : start + room]
        hidden = [self.base.unknown if masking and self.rng.random() < masking else token for token in inner]
        return self.base.framed(hidden)

    def calibration_losses(self, network: Classifier) -> np.ndarray:
        """The loss of each calibration text, cut to the crop, by a network at the temperature that suits all best."""
        return losses_at_best(logits_of(network, self.ids["calibration"]), self.targets["calibration"])

    def _right(self, logits: np.ndarray) -> np.ndarray:
        targets = self.targets["calibration"]
        same = ((logits > 0) == (targets > 0.5)).all(1) if targets.ndim > 1 else logits.argmax(1) == targets
        return same.astype(np.float64)

    def _measure(self) -> tuple[float, float]:
        """(loss, accuracy) of the mean network on the calibration split, texts cut to the crop."""
        logits = logits_of(self.mean, self.ids["calibration"])
        targets = torch.from_numpy(self.targets["calibration"]).to(device())
        loss = self._loss(torch.from_numpy(logits).to(device()), targets, 0.0)
        return float(loss), float(self._right(logits).mean())

    def _save(self, file: Path) -> None:
        state = {
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "top": self.top,
            "optimiser": self.optimiser.state_dict(),
            "random": self.rng.getstate(),
            "curve": [asdict(each) for each in self.curve],
            "settings": asdict(self.settings),
            "data": self.data.fingerprint,
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def restore(self, file: Path, resume: bool) -> None:
        """Go on from the checkpoint; Refused("conflict") when it belongs to other data or settings."""
        if not (resume and file.exists()):
            return
        state = torch.load(file, map_location=device(), weights_only=True)
        if (state["data"], trained_by(state["settings"])) != (
            self.data.fingerprint,
            trained_by(asdict(self.settings)),
        ):
            text = f"{file} belongs to other labels or settings; remove it or train without --resume."
            raise Refused("conflict", text)
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        self.optimiser.load_state_dict(state["optimiser"])
        kind, numbers, spare = state["random"]
        self.rng.setstate((kind, tuple(numbers), spare))
        self.top, self.curve = state["top"], [Epoch(**each) for each in state["curve"]]


def class_weights(targets: np.ndarray, labels: int) -> torch.Tensor:
    """Rare classes count more, by the root of how rare they are and at most fourfold."""
    if targets.ndim > 1:
        share = targets.mean(0).clip(1e-6)
        return torch.from_numpy(np.sqrt((1 - share) / share).clip(1.0, 4.0).astype(np.float32))
    counts = np.bincount(targets, minlength=labels).clip(1)
    return torch.from_numpy(np.sqrt(counts.mean() / counts).clip(0.5, 4.0).astype(np.float32))


def _padded(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    batch = next(iter(batches(texts, 10**9)))
    order = np.argsort(batch.rows)
    ids, mask = batch.input_ids[order], batch.attention_mask[order]
    return torch.from_numpy(ids).to(device()), torch.from_numpy(mask).to(device())


def _grouped(rows: Sequence[int], length, size: int, tokens: int) -> Iterator[list[int]]:
    """Consecutive rows, at most ``size`` and at most ``tokens`` with padding; rows come sorted by length."""
    start = 0
    while start < len(rows):
        end = start + 1
        while end < len(rows) and end - start < size and length(rows[end]) * (end + 1 - start) <= tokens:
            end += 1
        yield list(rows[start:end])
        start = end


def _optimiser(network: Classifier, settings: Settings) -> torch.optim.Optimizer:
    head = {id(p) for p in network.head.parameters()}
    table = network.backbone.get_input_embeddings().weight
    body = [p for p in network.backbone.parameters() if p.requires_grad and p is not table]
    groups = [
        {"params": [p for p in body if p.ndim > 1], "weight_decay": settings.weight_decay, "share": 1.0},
        {"params": [p for p in body if p.ndim < 2], "weight_decay": 0.0, "share": 1.0},
        {
            "params": [p for p in network.parameters() if id(p) in head],
            "weight_decay": 0.0,
            "share": settings.head_factor,
        },
    ]
    if table.requires_grad:
        groups.append({"params": [table], "weight_decay": 0.0, "share": 0.5})
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.rate, betas=(0.9, 0.98))


def regression(
    seen: np.ndarray, targets: np.ndarray, labels: int, strength: float, steps: int = 150
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (labels, width) and shifts (labels,) of a logistic regression with the penalty 1 / ``strength``."""
    machine = LogisticRegression(C=strength, max_iter=steps)
    machine = (OneVsRestClassifier(machine) if targets.ndim > 1 else machine).fit(seen, targets)
    return _head_of(machine, labels, targets)


def _head_of(machine, labels: int, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (labels, width) and shifts (labels,) of a fitted logistic regression."""
    if targets.ndim > 1:
        parts = machine.estimators_
        return np.vstack([p.coef_ for p in parts]), np.array([p.intercept_[0] for p in parts])
    coef, bias = machine.coef_, machine.intercept_
    if len(machine.classes_) == 2:
        coef, bias = np.vstack([-coef, coef]) / 2, np.array([-bias[0], bias[0]]) / 2
    full, shift = np.zeros((labels, coef.shape[1])), np.full(labels, -5.0)
    full[machine.classes_], shift[machine.classes_] = coef, bias
    return full, shift
