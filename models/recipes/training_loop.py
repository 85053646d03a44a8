"""The training loop of every recipe: optimiser, learning rate, gradient clipping, progress, checkpoints and resuming.

A recipe supplies parameter groups, a loss function, batches, and what to do after a step (evaluate, save).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from models.recipes.device import device
from pipeline.errors import Refused

CHECKPOINT = "checkpoint.pt"
#: Steps over which the metrics are averaged.
WINDOW = 50
BETAS = (0.9, 0.98)
MAX_GRADIENT_NORM = 1.0
#: The share of the learning rate that a schedule ends with.
LAST_RATE = 0.02

Loss = Callable[[Any], tuple[torch.Tensor, dict[str, float]]]


class TrainingLoop:
    """A training in progress.

    ``step`` counts the optimiser steps and ``seconds`` the work, both over all starts. ``means`` holds running means of
    the loss and of the metrics that the loss function returns with it.

    Args:
        network: what is trained; it lies on `device` already.
        groups: optimiser groups of AdamW: ``params``, their peak learning rate ``lr``, and what else AdamW takes.
        loss: batch to (loss, further metrics); it runs the network, in `mixed` precision.
        schedule: the share of the peak learning rates at the present step.
        signature: what a checkpoint depends on, as plain values: settings and data.
        rng: the random numbers of the batches; its state is saved and restored.
        fused: whether the optimiser updates all parameters in one kernel: quicker, with slightly other rounding.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        groups: Sequence[dict[str, Any]],
        loss: Loss,
        schedule: Callable[[TrainingLoop], float],
        signature: dict[str, Any],
        rng: random.Random,
        fused: bool = False,
    ) -> None:
        self.network, self.loss, self.schedule, self.signature, self.rng = network, loss, schedule, signature, rng
        groups = [{**group, "peak": group["lr"]} for group in groups if group["params"]]
        self.optimiser = torch.optim.AdamW(groups, betas=BETAS, fused=fused)
        self.step, self.means = 0, dict[str, float]()
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of work, over all starts."""
        return time.monotonic() - self._began

    def run(
        self,
        batches: Iterable[Any],
        label: str,
        steps: int,
        initial: int = 0,
        after_step: Callable[[], Any] | None = None,
    ) -> float:
        """Take a step per batch and return their mean loss.

        ``steps`` and ``initial`` are the length and the start of the progress bar; ``after_step`` is called after each.
        """
        losses = []
        with tqdm(initial=initial, total=steps, desc=label, unit="step", mininterval=5) as bar:
            for batch in batches:
                losses.append(self.train_batch(batch))
                bar.set_postfix({name: f"{mean:.3f}" for name, mean in self.means.items()}, refresh=False)
                bar.update()
                if after_step is not None:
                    after_step()
        return sum(losses) / max(1, len(losses))

    def train_batch(self, batch: Any) -> float:
        """Take one step on a batch and return its loss; `means` follow."""
        share = self.schedule(self)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * share
        loss, metrics = self.loss(batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
        self.optimiser.step()
        self.step += 1
        for name, value in {"loss": loss.item(), **metrics}.items():
            mean = self.means.get(name, value)
            self.means[name] = mean + (value - mean) / min(self.step, WINDOW)
        return loss.item()

    def save(self, file: Path, **extra: Any) -> None:
        """Write a checkpoint; the file appears whole or not at all. ``extra`` comes back from `restore`."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": self.rng.getstate(),
            "step": self.step,
            "means": self.means,
            "seconds": self.seconds,
            "signature": self.signature,
            "extra": extra,
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def restore(self, file: Path) -> dict[str, Any]:
        """Continue from a checkpoint and return the ``extra`` values that were saved with it.

        Raises Refused("conflict") for the checkpoint of other data or settings.
        """
        state = torch.load(file, map_location=device(), weights_only=True)
        if state.get("signature") != self.signature:
            text = f"{file} belongs to other data or other settings: remove it, or train without --resume."
            raise Refused("conflict", text)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        version, numbers, gauss = state["random"]
        self.rng.setstate((version, tuple(numbers), gauss))
        self.step, self.means = state["step"], state["means"]
        self._began = time.monotonic() - state["seconds"]
        return state["extra"]


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the share of the learning rate at ``step``: a linear rise over ``warmup`` steps, then half a cosine."""
    if step < warmup:
        return (step + 1) / warmup
    fallen = (step - warmup) / max(1, steps - warmup)
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * fallen))


def parameter_groups(
    network: torch.nn.Module,
    rate: float,
    weight_decay: float,
    special: Sequence[tuple[Iterable[torch.nn.Parameter], float]],
) -> list[dict[str, Any]]:
    """Return optimiser groups over the trainable parameters: matrices with weight decay, everything else without.

    ``special`` parameters learn at a factor of ``rate``, without weight decay: (parameters, factor).
    """
    special = [([p for p in parameters if p.requires_grad], factor) for parameters, factor in special]
    listed = {id(p) for parameters, _ in special for p in parameters}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in listed]
    return [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay, "lr": rate},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "lr": rate},
        *({"params": parameters, "weight_decay": 0.0, "lr": factor * rate} for parameters, factor in special),
    ]
