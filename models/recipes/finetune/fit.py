"""Fine-tuning: from a base and a dataset to a trained network, on CPU and GPU, with checkpoints and resuming."""

from __future__ import annotations

import json
import math
import random
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from models.recipes.device import device
from models.recipes.finetune.bag_of_words import BagOfWords, fit_bag_of_words, token_table
from models.recipes.finetune.base import Base, merge_adapters
from models.recipes.finetune.calibrate import blend, simplest
from models.recipes.finetune.examples import Dataset
from models.recipes.finetune.network import ClassifierNetwork
from models.recipes.finetune.outputs import bag_of_words_scores, logits_of
from models.recipes.finetune.projection import projected_classifier
from models.recipes.finetune.settings import Epoch, Hyperparameters
from models.recipes.finetune.trainer import Run
from models.recipes.training_loop import CHECKPOINT
from pipeline.ports import Embedder

#: With fewer texts to train on, the untrained base under a projection is tried too, and the winner is fitted again with
#: the calibration texts added.
FEW_TEXTS = 5000
#: The shares of a training that are tried.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network.

    Args:
        network: on the CPU, without adapters.
        curve: the epochs of the training.
        seconds: of the whole training.
        epochs: how long the network was trained.
        share: of the training that it keeps; 0 is the base with a fitted head.
        factor: the weight of its bag-of-words branch; 0 without one.
    """

    network: ClassifierNetwork
    curve: tuple[Epoch, ...]
    seconds: float
    epochs: int
    share: float
    factor: float


def fit(
    base: Base,
    data: Dataset,
    work: Path,
    settings: Hyperparameters,
    resume: bool = False,
    embedder: Embedder | None = None,
) -> Fitted:
    """Fine-tune ``base`` on ``data``; the checkpoint of the last whole epoch is in ``work``.

    With an ``embedder`` and few texts the training has to beat the untrained base under a projection
    (`projected_classifier`) on the calibration texts. Raises Refused("conflict") for a checkpoint of other data.
    """
    started = time.monotonic()
    run = _prepared(base, data, settings)
    start = deepcopy(run.mean.state_dict())
    if resume and (work / CHECKPOINT).exists():
        run.restore(work / CHECKPOINT)
    curve = run.train(work)
    best, epochs = run.best(), run.best_epoch
    share = _keep_share(run, start) if epochs else 0.0
    epochs = epochs if share else 0
    if embedder is not None and len(data.train) < FEW_TEXTS:
        rival = projected_classifier(base, data, settings, embedder)
        if run.calibration_losses(rival).mean() < run.calibration_losses(best).mean():
            best, epochs, share = rival, 0, 0.0
    network, factor = _finished(best), 0.0
    if settings.bag_of_words:
        factor = _add_bag_of_words(network, base, data, settings)
    return Fitted(network, tuple(curve), time.monotonic() - started, epochs, share, factor)


def refit(
    base: Base, data: Dataset, settings: Hyperparameters, fitted: Fitted, embedder: Embedder | None = None
) -> Fitted:
    """Repeat the training that made ``fitted`` with the calibration texts added: where texts are few, each one counts.

    Its length, the weight of the bag of words and the projection stay as they were chosen, and so does what was
    calibrated, on texts that the first network had not seen. ``embedder`` is the one that `fit` had.
    """
    started = time.monotonic()
    everything = replace(data, train=data.train + data.calibration)
    if fitted.network.projection is not None and embedder is not None:
        network = projected_classifier(base, everything, settings, embedder)
    else:
        run = _prepared(base, everything, settings)
        if fitted.share:
            start = deepcopy(run.mean.state_dict())
            for number in range(fitted.epochs):
                run.train_epoch(number)
            run.mean.load_state_dict(between(start, run.mean.state_dict(), fitted.share))
        network = run.mean
    network = _finished(network)
    if fitted.factor:
        network.bag_of_words = bag_of_words_branch(base, everything, settings)
        network.bag_of_words.scale(fitted.factor)
    return replace(fitted, network=network, seconds=fitted.seconds + time.monotonic() - started)


def _prepared(base: Base, data: Dataset, settings: Hyperparameters) -> Run:
    """Return a training before its first step, its head fitted on the base as it is."""
    torch.manual_seed(settings.seed)
    ids = {
        "train": base.encode([example.text for example in data.train]),
        "calibration": base.encode([example.text for example in data.calibration], settings.crop),
    }
    network = ClassifierNetwork(base.backbone(settings.lora), len(data.labels), settings.dropout, settings.reach).to(
        device()
    )
    run = Run(network, base, data, ids, settings)
    run.fit_head()
    return run


def _keep_share(run: Run, start: dict[str, torch.Tensor]) -> float:
    """Move the mean network to start + share * (trained - start), and return the share.

    Weights between those of a base and those that it was trained to often do better than both ends (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", CVPR 2022). The smallest share wins that explains the calibration texts no
    worse than the best one, up to one standard error: on a few dozen texts the gain of a training is often luck.
    """
    trained = deepcopy(run.mean.state_dict())
    losses = {}
    for share in SHARES:
        run.mean.load_state_dict(between(start, trained, share))
        losses[share] = run.calibration_losses(run.mean)
    share = simplest(losses)
    run.mean.load_state_dict(between(start, trained, share))
    return share


def between(start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """Return the weights at ``share`` of the way from ``start`` to ``end``."""
    return {name: start[name] + share * (value - start[name]) for name, value in end.items()}


def _finished(network: ClassifierNetwork) -> ClassifierNetwork:
    network = network.eval().cpu()
    merge_adapters(network.backbone)
    return network


def bag_of_words_branch(base: Base, data: Dataset, settings: Hyperparameters) -> BagOfWords:
    """Return the bag-of-words branch, fitted to the texts to train on."""
    inner = [base.inner(ids) for ids in base.encode([example.text for example in data.train])]
    table = token_table(base.tokenizer, base.vocabulary)
    return fit_bag_of_words(inner, data.targets(data.train), table, len(data.labels), settings.seed)


def _add_bag_of_words(network: ClassifierNetwork, base: Base, data: Dataset, settings: Hyperparameters) -> float:
    """Add the bag-of-words branch at the weight that `blend` finds on the calibration split; return it (0: none)."""
    branch = bag_of_words_branch(base, data, settings)
    texts = base.encode([example.text for example in data.calibration], settings.max_length)
    factor = blend(logits_of(network, texts), bag_of_words_scores(branch, texts), data.targets(data.calibration))
    if factor:
        branch.scale(factor)
        network.bag_of_words = branch
    return factor


def tune(
    base: Base, data: Dataset, work: Path, settings: Hyperparameters, tries: int, resume: bool = False
) -> Hyperparameters:
    """Return the best of ``tries`` draws of the four settings that matter most, by accuracy on the calibration split.

    Each is trained for a third of its epochs. ``settings`` are one of the tries.
    """
    rng = random.Random(settings.seed)
    candidates = [settings] + [
        replace(
            settings,
            rate=settings.rate * math.exp(rng.uniform(-1, 1)),
            epochs=max(2, round(settings.epochs * rng.choice((0.6, 1.0, 1.5)))),
            masking=rng.choice((0.0, 0.1, 0.2)),
            crop=rng.choice((96, 192, 320)),
        )
        for _ in range(tries - 1)
    ]
    scores = []
    for number, candidate in enumerate(tqdm(candidates, desc="tune", unit="try")):
        short = replace(candidate, epochs=max(1, candidate.epochs // 3), bag_of_words=False)
        curve = fit(base, data, work / f"try-{number}", short, resume).curve
        scores.append(max(epoch.accuracy for epoch in curve))
    rows = [json.dumps({**asdict(one), "accuracy": score}) for one, score in zip(candidates, scores, strict=True)]
    (work / "tune.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return candidates[int(np.argmax(scores))]
