"""A cross-encoder: question and passage in one window of a BERT-like network, their relevance as one logit.

Trained to put the right passage before the wrong ones (cross-entropy over a question's passages, as in Nogueira and Cho,
"Passage Re-ranking with BERT", and Gao et al., "Rethink Training of BERT Rerankers"), and besides to say of each passage by
itself whether it answers, so that the logits of different questions may be compared.
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
from models.recipes.reranker.questions import Question
from pipeline.onnx import batches

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Settings:
    """``group`` questions a step, each with its right passage and all of its wrong ones; ``window`` tokens of a pair."""

    rate: float = 1e-4
    epochs: int = 1
    group: int = 8
    window: int = 192
    keep: int = 200
    seed: int = 20261124


class CrossEncoder(torch.nn.Module):
    """(input_ids, attention_mask), each (batch, length), to relevance (batch,). Token ``separator`` ends the question."""

    def __init__(self, network: torch.nn.Module, separator: int) -> None:
        super().__init__()
        self.separator = separator
        self.network = network
        self.head = torch.nn.Linear(network.config.hidden_size, 1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # What stands behind the first separator belongs to the passage.
        ends = (input_ids == self.separator).long()
        ended = torch.cumsum(ends, dim=1) - ends
        part = ended.clamp(max=1) * attention_mask
        states = self.network(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=part).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(states.dtype)
        return self.head((states * weight).sum(1) / weight.sum(1).clamp(min=1.0)).squeeze(-1)


def fit(
    network: CrossEncoder,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    work: Path,
    settings: Settings,
    resume: bool = False,
) -> CrossEncoder:
    """Train; every ``settings.keep`` steps the state is kept in ``work``, from where ``resume`` goes on."""
    torch.manual_seed(settings.seed)
    tokenizer.enable_truncation(settings.window, strategy="only_second")
    run = Run(network.to(device()), settings, len(questions))
    run.restore(work / CHECKPOINT, resume)
    order = [n for epoch in range(settings.epochs) for n in _shuffled(len(questions), settings.seed + epoch)]
    bar = tqdm(range(run.done, run.steps), initial=run.done, total=run.steps, desc="train", unit="step", mininterval=5)
    for step in bar:
        group = [questions[n] for n in order[step * settings.group : (step + 1) * settings.group]]
        run.step(group, tokenizer)
        bar.set_postfix(loss=f"{run.loss:.3f}", refresh=False)
        if run.done % settings.keep == 0:
            run.save(work / CHECKPOINT)
    return run.network.eval().cpu()


class Run:
    """A training as far as it has come; ``loss`` is a running mean."""

    def __init__(self, network: CrossEncoder, settings: Settings, questions: int) -> None:
        self.network, self.settings = network, settings
        self.steps = questions * settings.epochs // settings.group
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=settings.rate, weight_decay=0.01)
        self.done, self.loss = 0, 0.0

    def step(self, group: Sequence[Question], tokenizer: Tokenizer) -> None:
        """One update from a group of questions."""
        self.network.train()
        logits = scores(self.network, tokenizer, [(q.text, passage) for q in group for passage in (q.right, *q.wrong)])
        table = logits.view(len(group), -1)
        first = torch.zeros(len(group), dtype=torch.long, device=table.device)
        single = torch.zeros_like(table)
        single[:, 0] = 1.0
        loss = functional.cross_entropy(table, first) + functional.binary_cross_entropy_with_logits(table, single)
        for slot in self.optimiser.param_groups:
            slot["lr"] = self.settings.rate * self._decay()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.done += 1
        self.loss += (loss.item() - self.loss) / min(self.done, 50)

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
            "done": self.done,
            "loss": self.loss,
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
        self.done, self.loss = state["done"], state["loss"]


def scores(network: CrossEncoder, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> torch.Tensor:
    """The logits of (question, passage) pairs, in their order."""
    batch = next(batches([each.ids for each in tokenizer.encode_batch(list(pairs))], 10**9))
    back = np.argsort(batch.rows)
    ids, mask = torch.from_numpy(batch.input_ids[back]), torch.from_numpy(batch.attention_mask[back])
    with mixed():
        return network(ids.to(device()), mask.to(device())).float()


def _shuffled(count: int, seed: int) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order
