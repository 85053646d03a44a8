"""Training of `network.Interaction`: every question of a neighbourhood against every passage of it.

Two losses are added: cross-entropy over the neighbourhood puts the right passage before its neighbours, and a binary
one says of each passage whether it answers, so that the log-odds of different questions may be compared. Neighbours
that hold the answer too are left out. The embeddings of the word pieces and the lowest layers are not trained: what
they encode is general, and a step costs less.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn import functional

from models.recipes.device import device, mixed, padded_tensors
from models.recipes.reranker.network import NEVER, Interaction
from models.recipes.reranker.questions import AnsweredQuestion, Pool
from models.recipes.training_loop import CHECKPOINT, TrainingLoop, warm_cosine


@dataclass(frozen=True, slots=True)
class RerankerHyperparameters:
    """How to train.

    Args:
        rate: learning rate of the layers; new parameters learn at ``fast`` times that.
        per_passage: questions per passage, at most.
        question: tokens that are read of a question.
        passage: tokens that are read of a passage.
        frozen: lowest layers that are not trained.
        keep: steps between two checkpoints.
        seed: of the drawing of questions.
    """

    rate: float = 1e-4
    fast: float = 10.0
    per_passage: int = 2
    question: int = 48
    passage: int = 128
    frozen: int = 1
    keep: int = 50
    seed: int = 20261124


def fit(
    network: Interaction,
    tokenizer: Tokenizer,
    groups: Sequence[Pool],
    work: Path,
    settings: RerankerHyperparameters,
    resume: bool = False,
) -> Interaction:
    """Train with one neighbourhood per step and return the network, on the CPU.

    Every ``settings.keep`` steps the state is saved in ``work``; ``resume`` continues from there. Raises
    Refused("conflict") for a checkpoint of other settings.
    """
    torch.manual_seed(settings.seed)
    # Without dropout: one pass over so few texts cannot be learnt by heart.
    network, steps = network.to(device()).eval(), len(groups)
    loop = TrainingLoop(
        network,
        trained_parameters(network, settings),
        lambda batch: loss(network, tokenizer, settings, *batch),
        lambda loop: warm_cosine(loop.step, steps, max(1, steps // 15)),
        {**asdict(settings), "steps": steps},
        random.Random(settings.seed),
    )
    file = work / CHECKPOINT
    if resume and file.exists():
        loop.restore(file)

    def save_now_and_then() -> None:
        if loop.step % settings.keep == 0:
            loop.save(file)

    # Each step has its own seed, so that a resumed training draws the same questions.
    neighbourhoods = ((groups[step], random.Random(settings.seed + step)) for step in range(loop.step, steps))
    loop.run(neighbourhoods, "train", steps, loop.step, save_now_and_then)
    return network.cpu()


def trained_parameters(network: Interaction, settings: RerankerHyperparameters) -> list[dict[str, Any]]:
    """Freeze what is not trained, and return optimiser groups of the rest: layers, and new parameters."""
    network.embeddings.requires_grad_(False)
    network.layers[: settings.frozen].requires_grad_(False)
    new = [*network.project.parameters(), *network.weigh.parameters(), network.scale, network.even]
    old = [weight for weight in network.layers.parameters() if weight.requires_grad]
    common = {"weight_decay": 0.01, "betas": (0.9, 0.999)}
    return [
        {"params": old, "lr": settings.rate, **common},
        {"params": new, "lr": settings.rate * settings.fast, **common},
    ]


def loss(
    network: Interaction, tokenizer: Tokenizer, settings: RerankerHyperparameters, group: Pool, rng: random.Random
) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the loss over a neighbourhood, and the share of questions whose right passage scores best."""
    questions = draw_questions(group, settings.per_passage, rng)
    texts = padded(tokenizer, [question.text for question in questions], settings.question)
    with mixed():
        logits = network.table(texts, padded(tokenizer, group.passages, settings.passage)).float()
    right = torch.tensor([question.place for question in questions], device=logits.device)
    answers = functional.one_hot(right, len(group.passages)).float()
    others = also_answering(group, [question.answer for question in questions], answers.cpu())
    judged = 1.0 - others.to(logits.device)
    total = functional.cross_entropy(logits.masked_fill(judged == 0, NEVER), right)
    total = total + functional.binary_cross_entropy_with_logits(logits, answers, judged)
    return total, {"first": (logits.argmax(1) == right).float().mean().item()}


def draw_questions(group: Pool, per_passage: int, rng: random.Random) -> list[AnsweredQuestion]:
    """Draw at most ``per_passage`` questions of each passage."""
    by_place: dict[int, list[AnsweredQuestion]] = {}
    for question in rng.sample(group.questions, len(group.questions)):
        by_place.setdefault(question.place, []).append(question)
    return [question for questions in by_place.values() for question in questions[:per_passage]]


def also_answering(group: Pool, answers: Sequence[str], right: torch.Tensor) -> torch.Tensor:
    """Return 1 where a passage other than the right one holds the answer: (questions, passages).

    ``right`` (questions, passages) is 1 at the right passages.
    """
    passages = [passage.lower() for passage in group.passages]
    holds = torch.tensor([[answer.lower() in passage for passage in passages] for answer in answers])
    return holds.float() * (1.0 - right)


def padded(tokenizer: Tokenizer, texts: Sequence[str], limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, each (texts, length), of the first ``limit`` tokens of each text, on `device`."""
    tokenizer.enable_truncation(limit)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    tokenizer.no_truncation()
    return padded_tensors(ids)
