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
from models.recipes.base.transplant import Sample, solve, transplant
from models.recipes.device import device, mixed

CHECKPOINT, WARM = "checkpoint.pt", "warm.pt"


@dataclass(frozen=True, slots=True)
class Plan:
    """How to distil. ``tokens`` is the whole budget, padding included; ``batch`` tokens make one step. ``minutes``,
    where it is not 0, bounds the time too, and the rate falls by whichever of the two ends first.

    ``short`` is the share of the batches that hold short texts. ``start`` names what the student starts from where that is not a
    transplant of the teacher. The losses are added: the states' with weight one, the sentences', and the relations'.

    The rate is constant until the last share ``cool`` of the steps, in which it falls to nothing. So a run can be made
    longer afterwards: ``work/warm.pt`` is the checkpoint from before the fall.
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
        return self.tokens // self.batch


class Pupil(torch.nn.Module):
    """The student and, per layer border, the map from its normalised state to the teacher's; only the student is kept."""

    def __init__(self, own: MistralModel, teacher_width: int) -> None:
        super().__init__()
        self.student = own
        if device().type == "cpu":
            # Measured: on two cores plain attention takes three quarters of the fused kernel's time.
            self.student.set_attn_implementation("eager")
        borders = own.config.num_hidden_layers + 1
        self.readouts = torch.nn.ParameterList(
            torch.zeros(teacher_width, own.config.hidden_size) for _ in range(borders)
        )

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        """The teacher's states as the student sees them, each of shape (batch, length, teacher's width)."""
        out = self.student(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        return [
            functional.rms_norm(state.float(), state.shape[-1:]) @ readout.T
            for state, readout in zip(out.hidden_states[1:], list(self.readouts)[1:], strict=True)
        ]


def begin(teacher: BertModel, passages: Passages, plan: Plan, start: MistralModel | None = None) -> Pupil:
    """A pupil whose student is ``start``, or else a transplant of the teacher."""
    pupil = Pupil(start or student(plan.shape, teacher.config.vocab_size), teacher.config.hidden_size)
    sample = Sample(*start_sample(passages, plan.start_tokens))
    found = read_out(teacher, start, sample) if start else transplant(teacher, pupil.student, sample)
    with torch.no_grad():
        for own, readout in zip(pupil.readouts, found, strict=True):
            own.copy_(readout)
    return pupil


@torch.no_grad()
def read_out(teacher: BertModel, own: MistralModel, sample: Sample) -> list[torch.Tensor]:
    """Per layer border, the least-squares map from the normalised state of a student that is there already to the teacher's state."""
    made, wanted = (
        network(input_ids=sample.ids, attention_mask=sample.mask, output_hidden_states=True).hidden_states
        for network in (own.eval(), teacher)
    )
    return [
        solve(sample.rows(functional.rms_norm(state, state.shape[-1:])), sample.rows(target))
        for state, target in zip(made, wanted, strict=True)
    ]


def start_sample(passages: Passages, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Passages of 128 tokens at most, for the closed form."""
    crops = [passages._crop(passages.rng.choice((14, 30, 62, 126, 126))) for _ in range(tokens // 70)]
    ids = torch.zeros(len(crops), max(map(len, crops)) + 2, dtype=torch.long)
    for row, crop in enumerate(crops):
        ids[row, : len(crop) + 2] = torch.tensor([101, *crop.tolist(), 102])
    return ids, (ids > 0).long()


@dataclass(frozen=True, slots=True)
class Losses:
    """How far a pupil is from its teacher on a batch. ``states``: mean squared error over the variance, mean over the layers.
    ``sentences``: 1 - cosine of the sentence embeddings. ``relations``: mean squared error of the cosines of every two texts of the
    batch, over their variance; what tells classes apart by few examples is how near texts are to each other (relational knowledge
    distillation, Park et al., CVPR 2019)."""

    states: torch.Tensor
    sentences: torch.Tensor
    relations: torch.Tensor

    def total(self, plan: Plan) -> torch.Tensor:
        """What the plan wants small."""
        return self.states + plan.sentence_weight * self.sentences + plan.relation_weight * self.relations

    def numbers(self) -> np.ndarray:
        """The three as an array."""
        return np.array([self.states.item(), self.sentences.item(), self.relations.item()])


def losses(pupil: Pupil, teacher: BertModel, ids: torch.Tensor, mask: torch.Tensor) -> Losses:
    """Compare both on one batch."""
    with torch.no_grad(), mixed():
        wanted = teacher(ids, attention_mask=mask, output_hidden_states=True).hidden_states[1:]
    with mixed():
        made = pupil(ids, mask)
    real = mask.bool()
    errors = [_relative_error(own[real].float(), state[real].float()) for own, state in zip(made, wanted, strict=True)]
    own, other = (functional.normalize(mean_state(each[-1].float(), mask), dim=-1) for each in (made, wanted))
    return Losses(torch.stack(errors).mean(), 1.0 - (own * other).sum(-1).mean(), _relations(own, other))


def _relations(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Of embeddings of length one, (texts, width) each; 0 where there are too few to speak of relations."""
    if len(made) < 3:
        return made.new_zeros(())
    pairs = torch.triu_indices(len(made), len(made), 1, device=made.device)
    own, other = ((each @ each.T)[pairs[0], pairs[1]] for each in (made, wanted))
    return (own - other).pow(2).mean() / other.var(correction=0).clamp(min=1e-4)


def _relative_error(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (made - wanted).pow(2).mean() / wanted.var(0).mean()


def distil(
    teacher: BertModel,
    passages: Passages,
    work: Path,
    plan: Plan,
    resume: bool = False,
    start: MistralModel | None = None,
) -> tuple[Pupil, Course]:
    """Distil on the plan's budget, from ``start`` where there is one; checkpoints go to ``work/checkpoint.pt`` every three minutes."""
    torch.manual_seed(plan.seed)
    work.mkdir(parents=True, exist_ok=True)
    file = work / CHECKPOINT
    state = _restored(file, plan) if resume and file.exists() else None
    if state is None:
        pupil = begin(teacher.eval(), passages, plan, start)
    else:
        pupil = Pupil(start or student(plan.shape, teacher.config.vocab_size), teacher.config.hidden_size)
    pupil.to(device()).train()
    teacher.to(device()).eval()
    optimiser = _optimiser(pupil, plan)
    if state is not None:
        pupil.load_state_dict(state["pupil"])
        optimiser.load_state_dict(state["optimiser"])
        passages.rng.setstate(_rng_state(state["random"]))
    course = Course(plan, state["step"], state["seconds"]) if state else Course(plan)
    _loop(pupil, teacher, passages, optimiser, course, work)
    return pupil.eval(), course


class Course:
    """How far a distillation has come on its plan: ``step`` steps, ``seconds`` of work before this start."""

    def __init__(self, plan: Plan, step: int = 0, seconds: float = 0.0) -> None:
        self.plan, self.step, self.before, self.began = plan, step, seconds, time.monotonic()

    @property
    def seconds(self) -> float:
        """Of work, over all starts."""
        return self.before + time.monotonic() - self.began

    @property
    def done(self) -> float:
        """The share of the budget that is spent, of tokens or of time, whichever is nearer to its end."""
        timed = self.seconds / (60 * self.plan.minutes) if self.plan.minutes else 0.0
        return max(self.step / self.plan.steps, timed)

    def rate(self) -> float:
        """The learning rate of this step, as a share of the plan's."""
        if self.step < self.plan.warmup:
            return (self.step + 1) / self.plan.warmup
        return min(1.0, max(0.01, (1.0 - self.done) / self.plan.cool))


def _loop(pupil, teacher, passages: Passages, optimiser, course: Course, work: Path) -> None:
    plan, means = course.plan, None
    bar = tqdm(initial=course.step, total=plan.steps, desc="distil", unit="step", mininterval=5)
    saved, warm = time.monotonic(), course.done >= 1 - plan.cool
    with (work / "history.jsonl").open("a", encoding="utf-8") as history:
        while course.done < 1.0:
            for group in optimiser.param_groups:
                group["lr"] = group["share"] * plan.rate * course.rate()
            now = _step(pupil, teacher, passages, optimiser, plan)
            means = now if means is None else means + 0.03 * (now - means)
            if course.step % 20 == 0:
                shown = dict(zip(("states", "sentences", "relations"), means.round(4).tolist(), strict=True))
                bar.set_postfix(shown | {"of budget": f"{course.done:.0%}"}, refresh=False)
                print(json.dumps({"step": course.step, **shown}), file=history, flush=True)
            course.step += 1
            bar.update()
            if not warm and course.done >= 1 - plan.cool:
                warm = True
                _checkpoint(work / WARM, pupil, optimiser, passages, course)
            if time.monotonic() - saved > 180:
                _checkpoint(work / CHECKPOINT, pupil, optimiser, passages, course)
                saved = time.monotonic()


def _step(pupil, teacher, passages: Passages, optimiser, plan: Plan) -> np.ndarray:
    ids, mask = (torch.from_numpy(array).to(device()) for array in passages.batch(plan.batch))
    found = losses(pupil, teacher, ids, mask)
    optimiser.zero_grad(set_to_none=True)
    found.total(plan).backward()
    torch.nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
    optimiser.step()
    return found.numbers()


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


def _checkpoint(file: Path, pupil: Pupil, optimiser, passages: Passages, course: Course) -> None:
    state = {
        "pupil": pupil.state_dict(),
        "optimiser": optimiser.state_dict(),
        "random": passages.rng.getstate(),
        "step": course.step,
        "seconds": course.seconds,
        "plan": asdict(course.plan),
    }
    torch.save(state, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def _restored(file: Path, plan: Plan) -> dict:
    """The last checkpoint; SystemExit when it was made under another plan. Only the budget may have grown."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    if state["plan"] | {"tokens": plan.tokens, "minutes": plan.minutes} != asdict(plan):
        raise SystemExit(f"{file} was made with other settings; remove it or repeat those settings")
    return state


def _rng_state(state: tuple) -> tuple:
    kind, numbers, spare = state
    return kind, tuple(numbers), spare
