"""Fine-tuning: from a base and a dataset to a trained network, the same on a CPU and on a GPU, with checkpoints and resume."""

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
from models.recipes.finetune.base import Base, merge_adapters
from models.recipes.finetune.calibrate import blend, simplest
from models.recipes.finetune.examples import Dataset
from models.recipes.finetune.network import Classifier
from models.recipes.finetune.outputs import logits_of, word_scores
from models.recipes.finetune.readout import on_readout
from models.recipes.finetune.settings import Epoch, Settings
from models.recipes.finetune.trainer import CHECKPOINT, Run
from models.recipes.finetune.words import WordPath, fit_words, lexicon
from pipeline.ports import Embedder

#: With fewer texts to train on, the untrained base under a readout is tried too, and what won is fitted again to the calibration texts too.
EACH_COUNTS = 5000
#: The shares of a training that are tried.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network with its curve; ``seconds`` is the whole training, ``epochs`` how long the network was trained and
    ``kept`` how much of that it keeps (0: it is the base with a fitted head), ``factor`` the weight of its word path."""

    network: Classifier
    curve: tuple[Epoch, ...]
    seconds: float
    epochs: int
    kept: float
    factor: float


def fit(
    base: Base, data: Dataset, work: Path, settings: Settings, resume: bool = False, embedder: Embedder | None = None
) -> Fitted:
    """Fine-tune ``base`` on ``data``; the checkpoint of the last whole epoch lies in ``work``. With an ``embedder`` and few texts the
    training has to beat the untrained base under a readout (`on_readout`) on the calibration texts."""
    started = time.monotonic()
    run = _prepared(base, data, settings)
    start = deepcopy(run.mean.state_dict())
    run.restore(work / CHECKPOINT, resume)
    curve = run.train(work)
    best, epochs = run.best(), run.epochs
    kept = _kept(run, start) if epochs else 0.0
    epochs = epochs if kept else 0
    if embedder is not None and len(data.train) < EACH_COUNTS:
        rival = on_readout(base, data, settings, embedder)
        if run.calibration_losses(rival).mean() < run.calibration_losses(best).mean():
            best, epochs, kept = rival, 0, 0.0
    network, factor = _finished(best), 0.0
    if settings.words:
        factor = _join(network, word_path(base, data, settings), base, data, settings)
    return Fitted(network, tuple(curve), time.monotonic() - started, epochs, kept, factor)


def refit(base: Base, data: Dataset, settings: Settings, fitted: Fitted, embedder: Embedder | None = None) -> Fitted:
    """The same again on the calibration texts too, as long, with the same weight of the words, on a readout if that was better: where
    texts are few, each of them counts. What was chosen and calibrated on texts that the first network had not seen stays."""
    started = time.monotonic()
    everything = replace(data, train=data.train + data.calibration)
    if fitted.network.readout is None:
        network = _repeated(base, everything, settings, fitted)
    else:
        network = on_readout(base, everything, settings, embedder)
    network = _finished(network)
    if fitted.factor:
        network.words = word_path(base, everything, settings)
        network.words.scale(fitted.factor)
    return replace(fitted, network=network, seconds=fitted.seconds + time.monotonic() - started)


def _repeated(base: Base, data: Dataset, settings: Settings, fitted: Fitted) -> Classifier:
    """The training that made ``fitted``, on other data, and as much of it kept."""
    run = _prepared(base, data, settings)
    if fitted.kept:
        start = deepcopy(run.mean.state_dict())
        run.repeat(fitted.epochs)
        run.mean.load_state_dict(_between(start, run.mean.state_dict(), fitted.kept))
    return run.mean


def _prepared(base: Base, data: Dataset, settings: Settings) -> Run:
    """A training before its first step, its head fitted on the base as it is."""
    torch.manual_seed(settings.seed)
    ids = {
        "train": base.encode([example.text for example in data.train]),
        "calibration": base.encode([example.text for example in data.calibration], settings.crop),
    }
    network = Classifier(base.backbone(settings.lora), len(data.labels), settings.dropout, settings.reach).to(device())
    run = Run(network, base, data, ids, settings)
    run.start_head()
    return run


def _kept(run: Run, start: dict[str, torch.Tensor]) -> float:
    """How much of a training is kept: the mean network becomes start + share * (trained - start), and the share is returned.

    Weights between those of a base and those that it was trained to often do better than both ends (Wortsman et al., "Robust
    fine-tuning of zero-shot models", CVPR 2022). The smallest share that explains the calibration texts no worse than the best one,
    up to one standard error of the difference: on a few dozen texts what a training gained is often luck.
    """
    trained = deepcopy(run.mean.state_dict())
    found = {}
    for share in SHARES:
        run.mean.load_state_dict(_between(start, trained, share))
        found[share] = run.calibration_losses(run.mean)
    kept = simplest(found)
    run.mean.load_state_dict(_between(start, trained, kept))
    return kept


def _between(start: dict[str, torch.Tensor], end: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    return {name: start[name] + share * (value - start[name]) for name, value in end.items()}


def _finished(network: Classifier) -> Classifier:
    network = network.eval().cpu()
    merge_adapters(network.backbone)
    return network


def word_path(base: Base, data: Dataset, settings: Settings) -> WordPath:
    """The path of words, fitted to the texts to train on."""
    inner = [base.inner(ids) for ids in base.encode([example.text for example in data.train])]
    known = lexicon(base.tokenizer, base.vocabulary)
    return fit_words(inner, data.targets(data.train), known, len(data.labels), settings.seed)


def _join(network: Classifier, words: WordPath, base: Base, data: Dataset, settings: Settings) -> float:
    """Add the word path at the weight that `blend` finds on the calibration split, and say it; at none it is left out."""
    held = base.encode([example.text for example in data.calibration], settings.max_length)
    factor = blend(logits_of(network, held), word_scores(words, held), data.targets(data.calibration))
    if factor:
        words.scale(factor)
        network.words = words
    return factor


def tune(base: Base, data: Dataset, work: Path, settings: Settings, tries: int, resume: bool = False) -> Settings:
    """The best of ``tries`` random draws of the four settings that matter, after a third of the epochs each, by the accuracy on
    the calibration split. The given settings are one of the tries."""
    rng = random.Random(settings.seed)
    drawn = [settings] + [
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
    for number, each in enumerate(tqdm(drawn, desc="tune", unit="try")):
        short = replace(each, epochs=max(1, each.epochs // 3), words=False)
        scores.append(max(e.accuracy for e in fit(base, data, work / f"try-{number}", short, resume).curve))
    tried = [json.dumps({**asdict(each), "accuracy": score}) for each, score in zip(drawn, scores, strict=True)]
    (work / "tune.jsonl").write_text("\n".join(tried) + "\n", encoding="utf-8")
    return drawn[int(np.argmax(scores))]
