"""Distillation: the student learns to reproduce the teacher's states, layer by layer, and its sentence embeddings."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from transformers import BertModel, MistralModel

from models.recipes.base.student import SHAPES, Shape, mean_state, new_student
from models.recipes.base.text import Passages, framed
from models.recipes.base.transplant import TokenSample, solve, transplant
from models.recipes.device import device, mixed
from models.recipes.training_loop import CHECKPOINT, TrainingLoop, parameter_groups

WARM = "warm.pt"
#: Seconds between two checkpoints, and steps between two lines of history.jsonl.
SAVE_EVERY, REPORT_EVERY = 180, 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How to distil.

    The learning rate is constant until the last share ``cool`` of the budget, in which it falls to nothing. So a run
    can be made longer afterwards: ``work/warm.pt`` is the checkpoint from before the fall.

    Args:
        tokens: the whole budget, padding included; ``batch`` tokens make one step.
        minutes: bounds the time too, where it is not 0; the learning rate falls by whichever of the two ends first.
        warmup: steps in which the learning rate rises.
        sentence_weight: of the loss of the sentence embeddings; that of the states has the weight 1.
        relation_weight: of the loss of the relations (see `Losses`).
        short: the share of the batches that hold short texts.
        start: names the base that the student starts from, where it is not a transplant of the teacher.
        start_tokens: tokens of the sample for the closed form.
    """

    tokens: int = 8_000_000
    minutes: float = 0.0
    batch: int = 2560
    rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: int = 150
    cool: float = 0.25
    sentence_weight: float = 3.0
    relation_weight: float = 0.0
    short: float = 0.0
    start: str = ""
    start_tokens: int = 60_000
    seed: int = 20261124
    shape: Shape = field(default_factory=lambda: SHAPES["small"])

    @property
    def steps(self) -> int:
        """Steps of the whole budget."""
        return self.tokens // self.batch

    def spent(self, step: int, seconds: float) -> float:
        """Return the share of the budget that is spent: of tokens or of time, whichever is nearer to its end."""
        return max(step / self.steps, seconds / (60 * self.minutes) if self.minutes else 0.0)

    def schedule(self, step: int, seconds: float) -> float:
        """Return the learning rate at a step, as a share of ``rate``."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return min(1.0, max(0.01, (1.0 - self.spent(step, seconds)) / self.cool))

    def signature(self) -> dict:
        """Return what a checkpoint depends on: everything but the budget, which may grow."""
        return {name: value for name, value in asdict(self).items() if name not in {"tokens", "minutes"}}


class Distillation(torch.nn.Module):
    """The student and, per layer border, the projection of its normalised state to the teacher's.

    Only the student and the last projection are kept afterwards.
    """

    def __init__(self, student: MistralModel, teacher_width: int) -> None:
        super().__init__()
        self.student = student
        if device().type == "cpu":
            # Measured: on two cores plain attention takes three quarters of the fused kernel's time.
            self.student.set_attn_implementation("eager")
        borders = student.config.num_hidden_layers + 1
        self.projections = torch.nn.ParameterList(
            torch.zeros(teacher_width, student.config.hidden_size) for _ in range(borders)
        )

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """Return the student's states after each layer, projected: (batch, length, teacher's width) each."""
        out = self.student(input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False)
        return [
            functional.rms_norm(state.float(), state.shape[-1:]) @ projection.T
            for state, projection in zip(out.hidden_states[1:], list(self.projections)[1:], strict=True)
        ]


def initialise(teacher: BertModel, passages: Passages, plan: Plan, start: MistralModel | None = None) -> Distillation:
    """Return a distillation before its first step, of the student ``start`` or of a transplant of the teacher."""
    network = Distillation(start or new_student(plan.shape, teacher.config.vocab_size), teacher.config.hidden_size)
    sample = TokenSample(*start_sample(passages, plan.start_tokens))
    if start is None:
        projections = transplant(teacher, network.student, sample)
    else:
        projections = fit_projections(teacher, start, sample)
    with torch.no_grad():
        for parameter, projection in zip(network.projections, projections, strict=True):
            parameter.copy_(projection)
    return network


@torch.no_grad()
def fit_projections(teacher: BertModel, student: MistralModel, sample: TokenSample) -> list[torch.Tensor]:
    """Return, per layer border, the least-squares map from the student's normalised state to the teacher's state."""
    states, targets = (
        network(input_ids=sample.ids, attention_mask=sample.mask, output_hidden_states=True).hidden_states
        for network in (student.eval(), teacher)
    )
    return [
        solve(sample.rows(functional.rms_norm(state, state.shape[-1:])), sample.rows(target))
        for state, target in zip(states, targets, strict=True)
    ]


def start_sample(passages: Passages, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids, mask) of passages of 128 tokens at most, about ``tokens`` in all, for the closed form."""
    crops = [passages.crop(passages.rng.choice((14, 30, 62, 126, 126))) for _ in range(tokens // 70)]
    return tuple(torch.from_numpy(array) for array in framed(crops))


@dataclass(frozen=True, slots=True)
class Losses:
    """The distance of a student from its teacher on a batch.

    Args:
        states: mean squared error over the variance of the teacher's states, mean over the layers.
        sentences: 1 - cosine of the sentence embeddings.
        relations: mean squared error of the cosines of every two texts of the batch, over their variance. How near
            texts are to each other tells classes apart by few examples (relational knowledge distillation, Park et al.,
            CVPR 2019).
    """

    states: torch.Tensor
    sentences: torch.Tensor
    relations: torch.Tensor

    def total(self, plan: Plan) -> torch.Tensor:
        """Return the weighted sum that is minimised."""
        return self.states + plan.sentence_weight * self.sentences + plan.relation_weight * self.relations

    def numbers(self) -> np.ndarray:
        """Return the three as an array."""
        return np.array([self.states.item(), self.sentences.item(), self.relations.item()])


def losses(network: Distillation, teacher: BertModel, ids: torch.Tensor, mask: torch.Tensor) -> Losses:
    """Compare student and teacher on one batch; ``ids`` and ``mask`` are (texts, length)."""
    with torch.no_grad(), mixed():
        targets = teacher(ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]
    with mixed():
        states = network(ids, mask)
    real = mask.bool()
    pairs = [(state[real].float(), target[real].float()) for state, target in zip(states, targets, strict=True)]
    errors = [(state - target).pow(2).mean() / target.var(0).mean() for state, target in pairs]
    own, other = (functional.normalize(mean_state(last.float(), mask), dim=-1) for last in (states[-1], targets[-1]))
    return Losses(torch.stack(errors).mean(), 1.0 - (own * other).sum(-1).mean(), relation_error(own, other))


def relation_error(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Compare the cosines of every two texts, given embeddings of length one (texts, width); 0 with too few texts."""
    if len(student) < 3:
        return student.new_zeros(())
    pairs = torch.triu_indices(len(student), len(student), 1, device=student.device)
    own, other = ((vectors @ vectors.T)[pairs[0], pairs[1]] for vectors in (student, teacher))
    return (own - other).pow(2).mean() / other.var(correction=0).clamp(min=1e-4)


def distil(
    teacher: BertModel,
    passages: Passages,
    work: Path,
    plan: Plan,
    resume: bool = False,
    start: MistralModel | None = None,
) -> tuple[Distillation, TrainingLoop]:
    """Distil on the plan's budget, from ``start`` where it is given; return the network and its training loop.

    A checkpoint is written to ``work`` every three minutes. Raises Refused("conflict") for one of other settings.
    """
    torch.manual_seed(plan.seed)
    work.mkdir(parents=True, exist_ok=True)
    file = work / CHECKPOINT
    resume = resume and file.exists()
    if resume:
        network = Distillation(start or new_student(plan.shape, teacher.config.vocab_size), teacher.config.hidden_size)
    else:
        network = initialise(teacher.eval(), passages, plan, start)
    network.to(device()).train()
    teacher.to(device()).eval()

    def loss(batch: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, dict[str, float]]:
        result = losses(network, teacher, *(torch.from_numpy(array).to(device()) for array in batch))
        return result.total(plan), dict(
            zip(("states", "sentences", "relations"), result.numbers().tolist(), strict=True)
        )

    # The token table comes trained and most of its rows occur rarely: it moves slowly.
    table = [network.student.embed_tokens.weight]
    groups = parameter_groups(network, plan.rate, plan.weight_decay, [(table, 0.2)])
    schedule = lambda loop: plan.schedule(loop.step, loop.seconds)  # noqa: E731
    loop = TrainingLoop(network, groups, loss, schedule, plan.signature(), passages.rng, fused=True)
    if resume:
        loop.restore(file)
    loop.run(_batches(loop, passages, plan), "distil", plan.steps, loop.step, _recorder(loop, plan, work))
    return network.eval(), loop


def _batches(loop: TrainingLoop, passages: Passages, plan: Plan) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches until the budget is spent."""
    while plan.spent(loop.step, loop.seconds) < 1.0:
        yield passages.batch(plan.batch)


def _recorder(loop: TrainingLoop, plan: Plan, work: Path) -> Callable[[], None]:
    """Return what is done after a step: history and checkpoints, one of them before the learning rate falls."""
    saved = time.monotonic()
    cooling = plan.spent(loop.step, loop.seconds) >= 1 - plan.cool

    def after_step() -> None:
        nonlocal saved, cooling
        if loop.step % REPORT_EVERY == 1:
            means = {name: round(mean, 4) for name, mean in loop.means.items()}
            with (work / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps({"step": loop.step, **means}) + "\n")
        if not cooling and plan.spent(loop.step, loop.seconds) >= 1 - plan.cool:
            cooling = True
            loop.save(work / WARM)
        if time.monotonic() - saved > SAVE_EVERY:
            loop.save(work / CHECKPOINT)
            saved = time.monotonic()

    return after_step
