"""How to fine-tune, and what one epoch of it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Settings that come after the training; another choice of them needs no new one.
AFTERWARDS = frozenset({"max_length", "reach", "words"})


@dataclass(frozen=True, slots=True)
class Settings:
    """How to fine-tune. ``rate``, ``epochs``, ``masking`` and ``crop`` are the four that matter (`tune` tries them).

    Args:
        rate: learning rate of the backbone; the head learns at ``head_factor`` times that.
        epochs: at most; training stops earlier after ``patience`` epochs without gain on the calibration split.
        masking: share of the tokens hidden in training: no class is told by one word alone.
        crop: tokens of a text seen at a time in training; longer texts show another part each epoch.
        start_texts: texts on which the head begins; reading them is its whole cost.
        batch: texts a step; fewer where they are long (``step_tokens`` at most).
        max_length: tokens read of a text in serving; its head and its tail where it is longer.
        reach: tokens of these that the backbone reads, head and tail again; the words read all.
        lora: rank of low-rank adapters; 0 trains every weight. For bases that are too large for that.
        words: whether the path of bare words is added.
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
    words: bool = True
    seed: int = 20261124


@dataclass(frozen=True, slots=True)
class Epoch:
    """A point of the training curve; ``accuracy`` and ``loss`` are those on the calibration split."""

    number: int
    train_loss: float
    loss: float
    accuracy: float
    seconds: float


def trained_by(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that a checkpoint depends on."""
    return {name: value for name, value in settings.items() if name not in AFTERWARDS}
