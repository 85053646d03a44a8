"""The training loop of every recipe: an interruption changes no result, and a foreign checkpoint is refused."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.recipes.training_loop import TrainingLoop, parameter_groups, warm_cosine
from pipeline.errors import Refused

STEPS = 12


def loop_of(signature: str = "settings") -> TrainingLoop:
    torch.manual_seed(2)
    network = torch.nn.Linear(3, 1)

    def loss(batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return (network(batch) - batch.sum(1, keepdim=True)).pow(2).mean(), {"rows": float(len(batch))}

    groups = parameter_groups(network, 0.1, 0.01, [([network.bias], 2.0)])
    schedule = lambda loop: warm_cosine(loop.step, STEPS, 3)  # noqa: E731
    return TrainingLoop(network, groups, loss, schedule, {"plan": signature}, random.Random(4))


def batches(loop: TrainingLoop, until: int) -> Iterator[torch.Tensor]:
    while loop.step < until:
        yield torch.tensor([[loop.rng.random() for _ in range(3)] for _ in range(5)])


def test_an_interrupted_training_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = loop_of()
    first = whole.run(batches(whole, 4), "whole", 4)
    last = whole.run(batches(whole, STEPS), "whole", STEPS, 4)
    assert last < first

    interrupted = loop_of()
    interrupted.run(batches(interrupted, 5), "first part", 5)
    interrupted.save(tmp_path / "checkpoint.pt", curve=[0.5])
    resumed = loop_of()
    assert resumed.restore(tmp_path / "checkpoint.pt") == {"curve": [0.5]}
    resumed.run(batches(resumed, STEPS), "second part", STEPS, resumed.step)
    assert (resumed.step, resumed.means) == (STEPS, pytest.approx(whole.means))
    assert resumed.seconds > 0
    for one, two in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.allclose(one, two)
    assert {file.name for file in tmp_path.iterdir()} == {"checkpoint.pt"}


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    loop_of().save(tmp_path / "checkpoint.pt")
    with pytest.raises(Refused, match="other settings"):
        loop_of("others").restore(tmp_path / "checkpoint.pt")


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [warm_cosine(step, STEPS, 3) for step in range(STEPS + 1)]
    assert rates[:4] == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_special_parameters_learn_at_their_own_rate_and_frozen_ones_not_at_all() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[0].requires_grad_(False)
    matrices, vectors, special = parameter_groups(network, 0.1, 0.01, [([network[1].bias, network[0].bias], 3.0)])
    assert [parameter is network[1].weight for parameter in matrices["params"]] == [True]
    assert vectors["params"] == []
    assert [parameter is network[1].bias for parameter in special["params"]] == [True]
    assert (matrices["weight_decay"], special["weight_decay"], special["lr"]) == (0.01, 0.0, pytest.approx(0.3))
