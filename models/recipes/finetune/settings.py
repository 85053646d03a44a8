"""How to fine-tune, and the result of one epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

#: Settings that are used after the training; another choice of them needs no new one.
AFTERWARDS = frozenset({"max_length", "reach", "bag_of_words"})


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How to fine-tune. ``rate``, ``epochs``, ``masking`` and ``crop`` matter most (`tune` tries them).

    Args:
        rate: learning rate of the backbone; the head learns at ``head_factor`` times that.
        epochs: at most; training stops earlier after ``patience`` epochs without gain on the calibration split.
        masking: share of the tokens hidden in training, so that no class is recognised by one word alone.
        crop: tokens of a text per training step; longer texts show another part in each epoch.
        start_texts: texts on which the head is first fitted; reading them is its whole cost.
        batch: texts per step; fewer where they are long (``step_tokens`` at most).
        average: share of an epoch over which the weights are averaged.
        max_length: tokens read of a text in serving; its head and its tail where it is longer.
        reach: tokens of these that the backbone reads, head and tail again; the bag of words reads all.
        lora: rank of low-rank adapters; 0 trains every weight. For bases that are too large for that.
        bag_of_words: whether the bag-of-words branch is added.
    """

    rate: float = 2.5e-4
    epochs: int = 8
    masking: float = 0.1
    crop: int = 192
    head_factor: float = 4.0
    start_texts: int = 10_000
    batch: int = 32
    step_tokens: int = 6144
    smoothing: float = 0.05
    dropout: float = 0.1
    weight_decay: float = 0.02
    average: float = 0.7
    patience: int = 3
    max_length: int = 2048
    reach: int = 512
    lora: int = 0
    bag_of_words: bool = True
    seed: int = 20261124

    def trained_by(self) -> dict[str, Any]:
        """Return the settings that a checkpoint depends on."""
        return {name: value for name, value in asdict(self).items() if name not in AFTERWARDS}


@dataclass(frozen=True, slots=True)
class Epoch:
    """A point of the training curve; ``loss`` and ``accuracy`` are those on the calibration split."""

    number: int
    train_loss: float
    loss: float
    accuracy: float
    seconds: float
