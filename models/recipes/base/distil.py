"""Distillation: the student learns to make the teacher's states, layer by layer, and its sentence embeddings."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm
from transformers import BertModel, MistralModel

from models.recipes.base.student import SHAPES, Shape, mean_state, student
from models.recipes.base.text import Passages
from models.recipes.base.transplant import Sample, transplant
from models.recipes.device import device, mixed

CHECKPOINT, WARM = "checkpoint.pt", "warm.pt"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to distil. ``tokens`` is the whole budget, padding included; ``batch`` tokens make one step.

    The rate is constant until the last share ``cool`` of the steps, in which it falls to nothing. So a run can be made
    longer afterwards: ``work/warm.pt`` is the checkpoint from before the fall.
    """

    tokens: int = 8_000_000
    batch: int = 2560
    rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: int = 150
    cool: float = 0.25
    sentence_weight: float = 3.0
    start_tokens: int = 60_000
    seed: int = 20261124
    shape: Shape = field(default_factory=lambda: SHAPES["small"])

    @property
    def steps(self) -> int:
        return self.tokens // self.batch


class Pupil(torch.nn.Module):
    """The student and, per layer border, the map from its normalised state to the teacher's; only the student is kept."""

    def __init__(self, shape: Shape, vocabulary: int, teacher_width: int) -> None:
        super().__init__()
        self.student: MistralModel = student(shape, vocabulary)
        if device().type == "cpu":
            # Measured: on two cores plain attention takes three quarters of the fused kernel's time.
            self.student.set_attn_implementation("eager")
        self.readouts = torch.nn.ParameterList(torch.zeros(teacher_width, shape.width) for _ in range(shape.layers + 1))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """The teacher's states as the student sees them, each of shape (batch, length, teacher's width)."""
        out = self.student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return [
            functional.rms_norm(state.float(), state.shape[-1:]) @ readout.T
            for state, readout in zip(out.hidden_states[1:], list(self.readouts)[1:], strict=True)
        ]


def begin(teacher: BertModel, passages: Passages, plan: Plan) -> Pupil:
    """A pupil whose student starts as a transplant of the teacher."""
    pupil = Pupil(plan.shape, teacher.config.vocab_size, teacher.config.hidden_size)
    ids, mask = start_sample(passages, plan.start_tokens)
    readouts = transplant(teacher, pupil.student, Sample(ids, mask))
    with torch.no_grad():
        for own, found in zip(pupil.readouts, readouts, strict=True):
            own.copy_(found)
    return pupil


def start_sample(passages: Passages, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Passages of 128 tokens at most, for the closed form."""
    crops = [passages._crop(passages.rng.choice((14, 30, 62, 126, 126))) for _ in range(tokens // 70)]
    ids = torch.zeros(len(crops), max(map(len, crops)) + 2, dtype=torch.long)
    for row, crop in enumerate(crops):
        ids[row, : len(crop) + 2] = torch.tensor([101, *crop.tolist(), 102])
    return ids, (ids > 0).long()


def losses(
    pupil: Pupil, teacher: BertModel, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean squared error of the states over their variance, mean over the layers; 1 - cosine of the sentence embeddings)."""
    with torch.no_grad(), mixed():
        wanted = teacher(ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]
    with mixed():
        made = pupil(ids, mask)
    real = mask.bool()
    errors = [_relative_error(own[real].float(), state[real].float()) for own, state in zip(made, wanted, strict=True)]
    sentence = functional.cosine_similarity(mean_state(made[-1].float(), mask), mean_state(wanted[-1].float(), mask))
    return torch.stack(errors).mean(), 1.0 - sentence.mean()


def _relative_error(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (made - wanted).pow(2).mean() / wanted.var(0).mean()


def distil(teacher: BertModel, passages: Passages, work: Path, plan: Plan, resume: bool = False) -> Pupil:
    """Distil on the plan's budget; checkpoints go to ``work/checkpoint.pt`` every three minutes."""
    torch.manual_seed(plan.seed)
    work.mkdir(parents=True, exist_ok=True)
    file = work / CHECKPOINT
    state = _restored(file, plan) if resume and file.exists() else None
    if state is None:
        pupil = begin(teacher.eval(), passages, plan)
    else:
        pupil = Pupil(plan.shape, teacher.config.vocab_size, teacher.config.hidden_size)
    pupil.to(device()).train()
    teacher.to(device()).eval()
    optimiser = _optimiser(pupil, plan)
    if state is not None:
        pupil.load_state_dict(state["pupil"])
        optimiser.load_state_dict(state["optimiser"])
        passages.rng.setstate(_rng_state(state["random"]))
    _loop(pupil, teacher, passages, optimiser, plan, state["step"] if state else 0, work)
    return pupil.eval()


def _loop(pupil, teacher, passages: Passages, optimiser, plan: Plan, first: int, work: Path) -> None:
    bar = tqdm(range(first, plan.steps), initial=first, total=plan.steps, desc="distil", unit="step", mininterval=5)
    saved, means = time.monotonic(), None
    with (work / "history.jsonl").open("a", encoding="utf-8") as history:
        for step in bar:
            for group in optimiser.param_groups:
                group["lr"] = group["share"] * plan.rate * _decay(step, plan)
            now = np.array(_step(pupil, teacher, passages, optimiser, plan))
            means = now if means is None else means + 0.03 * (now - means)
            if step % 20 == 0:
                bar.set_postfix(states=f"{means[0]:.4f}", sentence=f"{means[1]:.4f}", refresh=False)
                print(json.dumps({"step": step, "states": means[0], "sentence": means[1]}), file=history, flush=True)
            if step == int(plan.steps * (1 - plan.cool)):
                _checkpoint(work / WARM, pupil, optimiser, passages, step, plan)
            if time.monotonic() - saved > 180:
                _checkpoint(work / CHECKPOINT, pupil, optimiser, passages, step + 1, plan)
                saved = time.monotonic()


def _step(pupil, teacher, passages: Passages, optimiser, plan: Plan) -> tuple[float, float]:
    ids, mask = (torch.from_numpy(array).to(device()) for array in passages.batch(plan.batch))
    states, sentence = losses(pupil, teacher, ids, mask)
    optimiser.zero_grad(set_to_none=True)
    (states + plan.sentence_weight * sentence).backward()
    torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
    optimiser.step()
    return states.item(), sentence.item()


def _optimiser(pupil: Pupil, plan: Plan) -> torch.optim.Optimizer:
    """The token table comes trained and most of its rows are seen rarely: it moves slowly."""
    table = pupil.student.embed_tokens.weight
    rest = [p for p in pupil.parameters() if p is not table]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": plan.weight_decay, "share": 1.0},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "share": 1.0},
        {"params": [table], "weight_decay": 0.0, "share": 0.2},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)


def _decay(step: int, plan: Plan) -> float:
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    return min(1.0, max(0.01, (plan.steps - step) / (plan.cool * plan.steps)))


def _checkpoint(file: Path, pupil: Pupil, optimiser, passages: Passages, step: int, plan: Plan) -> None:
    state = {
        "pupil": pupil.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": passages.rng.getstate(),
        "step": step,
        "plan": asdict(plan),
    }
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def _restored(file: Path, plan: Plan) -> dict:
    """The last checkpoint; SystemExit when it was made under another plan. Only the budget may have grown."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    if state["plan"] | {"tokens": plan.tokens} != asdict(plan):
        raise SystemExit(f"{file} was made with other settings; remove it or repeat those settings")
    return state


def _rng_state(state: tuple) -> tuple:
    kind, numbers, spare = state
    return kind, tuple(numbers), spare
