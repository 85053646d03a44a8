"""Train the network on a budget of tokens: the same command on a CPU and on a GPU, with checkpoints and resume."""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tqdm import tqdm

from models.recipes.document_type.network import DocumentType, Shape
from models.recipes.document_type.prepare import LABELS, Sample
from pipeline.onnx import batches

#: Of the training crops, the share taken from the beginning (as in serving); the rest begin anywhere.
FROM_THE_TOP = 0.65
#: Ids hidden per crop: a type is never told by one word.
MASKED = 0.1
UNKNOWN, CLS, SEP = 100, 101, 102


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. ``tokens`` is the whole budget, padding included; ``batch`` tokens make one step."""

    tokens: int = 4_000_000
    batch: int = 6144
    rate: float = 7e-4
    weight_decay: float = 0.05
    warmup: float = 0.06
    lengths: tuple[int, ...] = (48, 96, 128, 192, 256)
    synthetic_share: float = 0.45
    seed: int = 20261124
    shape: Shape = field(default_factory=Shape)

    @property
    def steps(self) -> int:
        return self.tokens // self.batch


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Sampler:
    """Endless crops, the classes drawn by the square root of their size so that the small ones are seen."""

    def __init__(self, samples: Sequence[Sample], ids: Sequence[np.ndarray], plan: Plan) -> None:
        self.rng = random.Random(plan.seed)
        self.plan = plan
        self.ids = ids
        self.pools: dict[tuple[str, bool], list[int]] = defaultdict(list)
        for place, sample in enumerate(samples):
            self.pools[sample.label, sample.source == "synthetic"].append(place)
        sizes = {label: sum(len(p) for (name, _), p in self.pools.items() if name == label) for label in LABELS}
        self.labels = [label for label in LABELS if sizes[label]]
        self.weights = [math.sqrt(sizes[label]) for label in self.labels]

    def batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(input_ids, attention_mask, label places) of about ``plan.batch`` tokens."""
        length = self.rng.choice(self.plan.lengths)
        count = max(4, self.plan.batch // length)
        labels = self.rng.choices(self.labels, self.weights, k=count)
        crops = [self._crop(self.ids[self._draw(label)], length) for label in labels]
        packed = next(iter(batches(crops, length * (count + 1))))
        targets = np.array([LABELS.index(labels[row]) for row in packed.rows])
        return packed.input_ids, packed.attention_mask, targets

    def _draw(self, label: str) -> int:
        real, made = self.pools.get((label, False)), self.pools.get((label, True))
        pool = made if made and (not real or self.rng.random() < self.plan.synthetic_share) else real
        return self.rng.choice(pool)

    def _crop(self, ids: np.ndarray, length: int) -> list[int]:
        body, room = ids[1:-1], length - 2
        if len(body) > room:
            start = 0 if self.rng.random() < FROM_THE_TOP else self.rng.randrange(len(body) - room)
            body = body[start : start + room]
        kept = [UNKNOWN if self.rng.random() < MASKED else int(token) for token in body]
        return [CLS, *kept, SEP]


def tokenise(tokenizer: Tokenizer, samples: Sequence[Sample]) -> list[np.ndarray]:
    """The ids of every sample, uncut."""
    out = []
    for start in tqdm(range(0, len(samples), 512), desc="tokenise"):
        texts = [sample.text for sample in samples[start : start + 512]]
        out += [np.array(e.ids, dtype=np.int32) for e in tokenizer.encode_batch(texts)]
    return out


def train(samples: Sequence[Sample], teacher: Path, work: Path, plan: Plan, resume: bool = False) -> DocumentType:
    """Train on the samples of the split "train"; checkpoints go to ``work/checkpoint.pt`` every two minutes."""
    torch.manual_seed(plan.seed)
    tokenizer = Tokenizer.from_file(str(teacher / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    chosen = [sample for sample in samples if sample.split == "train"]
    sampler = Sampler(chosen, tokenise(tokenizer, chosen), plan)
    network = DocumentType(plan.shape, tokenizer.get_vocab_size(), len(LABELS))
    network.warm_start(teacher)
    network.to(device()).train()
    optimiser = _optimiser(network, plan)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, plan))
    work.mkdir(parents=True, exist_ok=True)
    first = _restore(work / "checkpoint.pt", network, optimiser, schedule, sampler, plan) if resume else 0
    _loop(network, optimiser, schedule, sampler, plan, first, work)
    torch.save({"network": network.state_dict(), "plan": asdict(plan)}, work / "network.pt")
    return network.eval()


def _loop(network, optimiser, schedule, sampler, plan: Plan, first: int, work: Path) -> None:
    bar = tqdm(range(first, plan.steps), initial=first, total=plan.steps, desc="train", unit="step", mininterval=5)
    saved, loss_mean, right_mean = time.monotonic(), 0.0, 0.0
    history = (work / "history.jsonl").open("a", encoding="utf-8")
    with history:
        for step in bar:
            loss, right = _step(network, optimiser, schedule, sampler.batch())
            loss_mean += 0.02 * (loss - loss_mean) if step else loss
            right_mean += 0.02 * (right - right_mean)
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss_mean:.3f}", right=f"{right_mean:.3f}", refresh=False)
                print(json.dumps({"step": step, "loss": loss_mean, "right": right_mean}), file=history, flush=True)
            if time.monotonic() - saved > 120:
                _checkpoint(work / "checkpoint.pt", network, optimiser, schedule, sampler, step + 1)
                saved = time.monotonic()


def _step(network, optimiser, schedule, batch) -> tuple[float, float]:
    place = next(network.parameters()).device
    ids, mask, targets = (torch.from_numpy(array).to(place) for array in batch)
    # bfloat16 is about twice as fast on a GPU and on CPUs with instructions for it, and costs nothing measurable here.
    with torch.autocast(place.type, dtype=torch.bfloat16):
        logits = network(ids, mask)
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, label_smoothing=0.03)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    schedule.step()
    return float(loss), float((logits.argmax(-1) == targets).float().mean())


def _optimiser(network: DocumentType, plan: Plan) -> torch.optim.Optimizer:
    """The token embeddings come trained: they move at a fifth of the rate and are not decayed."""
    table = network.mistral.model.embed_tokens.weight
    rest = [p for p in network.parameters() if p is not table]
    matrices, vectors = [p for p in rest if p.ndim > 1], [p for p in rest if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
        {"params": [table], "weight_decay": 0.0, "lr": plan.rate / 5},
    ]
    return torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), fused=True)


def _rate(step: int, plan: Plan) -> float:
    warm = max(1, int(plan.steps * plan.warmup))
    if step < warm:
        return (step + 1) / warm
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, plan.steps - warm)))


def _checkpoint(file: Path, network, optimiser, schedule, sampler: Sampler, step: int) -> None:
    state = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "random": sampler.rng.getstate(),
        "step": step,
        "plan": asdict(sampler.plan),
    }
    scratch = file.with_suffix(".part")
    torch.save(state, scratch)
    scratch.replace(file)


def _restore(file: Path, network, optimiser, schedule, sampler: Sampler, plan: Plan) -> int:
    """The step to go on with; 0 where there is no checkpoint. SystemExit when it was made under another plan."""
    if not file.exists():
        return 0
    state = torch.load(file, weights_only=True)
    if state["plan"] != asdict(plan):
        raise SystemExit(f"{file} was made with other settings; remove it or repeat those settings")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    kind, numbers, spare = state["random"]
    sampler.rng.setstate((kind, tuple(numbers), spare))
    return state["step"]
