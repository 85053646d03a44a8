"""The base as it is, seen through a map from its mean state to a sentence embedder's space that is fitted to the texts of a task.

This is distillation in closed form (ridge regression), and it needs no label: the base's states hold more of what the embedder says of
these texts than a handful of labels a class brings out. Each text comes a second time with words left out, cut in two, joined with another
or with words exchanged: the embedder reads whatever comes of that, so that every variant has a true target.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from models.recipes.device import device
from models.recipes.finetune.base import Base
from models.recipes.finetune.examples import Dataset
from models.recipes.finetune.network import Classifier, Readout
from models.recipes.finetune.outputs import mean_states
from models.recipes.finetune.settings import Settings
from models.recipes.finetune.trainer import regression
from pipeline.ports import Embedder

#: The penalty, as a share of the states' mean variance.
RIDGE = 0.03
#: The inverse of the head's.
PENALTY = 10.0
#: The share of the words that are left out or exchanged.
CHANGED = 0.2
#: Words of a text that are read: so many stay within the window of both networks, so that both read the same.
WORDS = 40
#: Texts embedded at a time.
PART = 256


def on_readout(base: Base, data: Dataset, settings: Settings, embedder: Embedder) -> Classifier:
    """A network whose head stands on a readout to ``embedder``, both fitted to the texts to train on; nothing of the base is trained.
    The head is penalised as that of the baseline on the embedder itself."""
    network = Classifier(base.backbone(), len(data.labels), settings.dropout, settings.reach).to(device())
    texts = [example.text for example in data.train]
    readout = fit_readout(network, base, texts, embedder, settings.seed)
    with torch.no_grad():
        seen = readout(torch.from_numpy(mean_states(network, base.encode(texts, settings.crop)))).numpy()
        coef, bias = regression(seen, data.targets(data.train), len(data.labels), PENALTY, 300)
    network.readout, network.head = readout, torch.nn.Linear(seen.shape[1], len(data.labels))
    network.head.load_state_dict({"weight": torch.from_numpy(coef), "bias": torch.from_numpy(bias)})
    return network.to(device()).eval()


def fit_readout(network: Classifier, base: Base, texts: Sequence[str], embedder: Embedder, seed: int) -> Readout:
    """The map that comes nearest to ``embedder`` on ``texts`` and a variant of each; see the module."""
    begun = [text.split()[:WORDS] for text in texts]
    shown = [" ".join(words) for words in [*begun, *variants(begun, random.Random(seed))]]
    wanted = np.vstack(
        [embedder.embed(shown[n : n + PART]) for n in tqdm(range(0, len(shown), PART), desc="embed", unit="part")]
    )
    weight, bias = ridge(mean_states(network, base.encode(shown)), wanted)
    return Readout(torch.from_numpy(weight), torch.from_numpy(bias))


def variants(texts: Sequence[Sequence[str]], rng: random.Random) -> list[list[str]]:
    """One variant of each text, all given by their words: the four kinds in turn."""
    every = [word for words in texts for word in words]
    made = []
    for number, words in enumerate(texts):
        cut = rng.randint(0, len(words))
        kinds = (
            lambda words=words: [word for word in words if rng.random() >= CHANGED],
            lambda words=words, cut=cut: words[:cut] if rng.random() < 0.5 else words[cut:],
            lambda words=words, cut=cut: (words[:cut] + _tail(rng.choice(texts), rng))[:WORDS],
            lambda words=words: [rng.choice(every) if rng.random() < CHANGED else word for word in words],
        )
        made.append(kinds[number % len(kinds)]() or list(words))
    return made


def _tail(words: Sequence[str], rng: random.Random) -> list[str]:
    return list(words[rng.randint(0, len(words)) :])


def ridge(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight (out, in) and bias (out,) of the ridge regression of ``targets`` (rows, out) on ``inputs`` (rows, in)."""
    middle, wanted = inputs.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    moved = inputs - middle
    gram = moved.T @ moved
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram, moved.T @ (targets - wanted)).T
    return weight.astype(np.float32), (wanted - weight @ middle).astype(np.float32)
