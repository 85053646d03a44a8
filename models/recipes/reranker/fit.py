"""Training of `network.Interaction`: every question of a neighbourhood against every passage of it.

The right passage comes before its neighbours (cross-entropy over the neighbourhood), and each passage by itself is said to
answer or not, so that the log-odds of different questions may be compared. A neighbour that holds the answer too is left out.
The vectors of the word pieces and the lowest layers stay as they are: what they know is general, and a step costs less.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional
from tqdm import tqdm

from models.recipes.device import device, mixed
from models.recipes.reranker.network import NEVER, Interaction
from models.recipes.reranker.questions import Pool
from pipeline.onnx import batches

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Settings:
    """``each`` questions of a passage at most; ``question`` and ``passage`` tokens are read; ``frozen`` layers are not trained;
    ``fast`` is how many times the rate the new parameters get."""

    rate: float = 1e-4
    fast: float = 10.0
    each: int = 2
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
    settings: Settings,
    resume: bool = False,
) -> Interaction:
    """Train, a neighbourhood a step; every ``settings.keep`` steps the state is kept in ``work``, from where ``resume`` goes on."""
    torch.manual_seed(settings.seed)
    # Without dropout: one pass over so few texts cannot be learnt by heart.
    run = Run(network.to(device()).eval(), settings, len(groups))
    run.restore(work / CHECKPOINT, resume)
    bar = tqdm(range(run.done, run.steps), initial=run.done, total=run.steps, desc="train", unit="step", mininterval=5)
    for step in bar:
        run.step(groups[step], tokenizer, random.Random(settings.seed + step))
        bar.set_postfix(loss=f"{run.loss:.3f}", first=f"{run.first:.3f}", refresh=False)
        if run.done % settings.keep == 0:
            run.save(work / CHECKPOINT)
    return run.network.cpu()


class Run:
    """A training as far as it has come. ``loss`` is a running mean, ``first`` that of the share of questions whose right passage
    is scored best before the step."""

    def __init__(self, network: Interaction, settings: Settings, steps: int) -> None:
        self.network, self.settings, self.steps = network, settings, steps
        self.done, self.loss, self.first = 0, 0.0, 0.0
        network.embeddings.requires_grad_(False)
        network.layers[: settings.frozen].requires_grad_(False)
        new = [*network.project.parameters(), *network.weigh.parameters(), network.scale, network.even]
        old = [weight for weight in network.layers.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [{"params": old, "times": 1.0}, {"params": new, "times": settings.fast}], weight_decay=0.01
        )

    def step(self, group: Pool, tokenizer: Tokenizer, rng: random.Random) -> None:
        """One update from a neighbourhood."""
        asked = chosen(group, self.settings.each, rng)
        texts = padded(tokenizer, [each.text for each in asked], self.settings.question)
        with mixed():
            logits = self.network.table(texts, padded(tokenizer, group.passages, self.settings.passage)).float()
        right = torch.tensor([each.place for each in asked], device=logits.device)
        single = functional.one_hot(right, len(group.passages)).float()
        judged = 1.0 - also(group, [each.answer for each in asked], single.cpu()).to(logits.device)
        loss = functional.cross_entropy(logits.masked_fill(judged == 0, NEVER), right)
        loss = loss + functional.binary_cross_entropy_with_logits(logits, single, judged)
        for slot in self.optimiser.param_groups:
            slot["lr"] = self.settings.rate * self._decay() * slot["times"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.done += 1
        share = 1 / min(self.done, 50)
        self.loss += (loss.item() - self.loss) * share
        self.first += ((logits.argmax(1) == right).float().mean().item() - self.first) * share

    def _decay(self) -> float:
        warm = max(1, self.steps // 15)
        if self.done < warm:
            return (self.done + 1) / warm
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (self.done - warm) / max(1, self.steps - warm)))

    def save(self, file: Path) -> None:
        """Keep the state; the file appears whole."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": [self.done, self.loss, self.first],
            "settings": {**asdict(self.settings), "steps": self.steps},
        }
        torch.save(state, file.with_suffix(".part"))
        file.with_suffix(".part").replace(file)

    def restore(self, file: Path, resume: bool) -> None:
        """Go on from ``file`` when asked; SystemExit when it belongs to another plan."""
        if not (resume and file.exists()):
            return
        state = torch.load(file, map_location=device(), weights_only=True)
        if state["settings"] != {**asdict(self.settings), "steps": self.steps}:
            raise SystemExit(f"{file} belongs to other settings; remove it or train without --resume")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.done, self.loss, self.first = state["progress"]


def chosen(group: Pool, each: int, rng: random.Random) -> list:
    """The group's questions, mixed, at most ``each`` of a passage."""
    by_place: dict[int, list] = {}
    for question in rng.sample(group.asked, len(group.asked)):
        by_place.setdefault(question.place, []).append(question)
    return [question for questions in by_place.values() for question in questions[:each]]


def also(group: Pool, answers: Sequence[str], right: torch.Tensor) -> torch.Tensor:
    """1 where a passage other than the right one holds the answer: (questions, passages)."""
    passages = [passage.lower() for passage in group.passages]
    holds = torch.tensor([[answer.lower() in passage for passage in passages] for answer in answers])
    return holds.float() * (1.0 - right)


def padded(tokenizer: Tokenizer, texts: Sequence[str], most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask (texts, length) of texts by themselves, the beginnings of ``most`` tokens, in their order."""
    tokenizer.enable_truncation(most)
    batch = next(batches([each.ids for each in tokenizer.encode_batch(list(texts))], 10**9))
    tokenizer.no_truncation()
    back = np.argsort(batch.rows)
    ids, mask = torch.from_numpy(batch.input_ids[back]), torch.from_numpy(batch.attention_mask[back])
    return ids.to(device()), mask.to(device())
