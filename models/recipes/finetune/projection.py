"""The untrained base under a projection: a linear map from its mean state to a sentence embedder's space.

The map is fitted to the texts of a task: distillation in closed form (ridge regression), which needs no label. The
base's states hold more of the embedder's knowledge of these texts than a handful of labels per class can bring out.
Each text comes a second time with words left out, cut in two, joined with another or with words exchanged: the embedder
reads the result, so that every variant has a true target.
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
from models.recipes.finetune.network import ClassifierNetwork, Projection
from models.recipes.finetune.outputs import mean_states
from models.recipes.finetune.settings import Hyperparameters
from models.recipes.finetune.trainer import regression
from pipeline.ports import Embedder

#: The penalty, as a share of the states' mean variance.
RIDGE = 0.03
#: The inverse of the head's penalty.
HEAD_STRENGTH = 10.0
#: The share of the words that are left out or exchanged.
CHANGED = 0.2
#: Words of a text that are read: so few that base and embedder both read all of them.
WORDS = 40
#: Texts embedded at a time.
PART = 256


def projected_classifier(base: Base, data: Dataset, settings: Hyperparameters, embedder: Embedder) -> ClassifierNetwork:
    """Return a network whose head stands on a projection to ``embedder``; nothing of the base is trained.

    Head and projection are fitted to the texts to train on; the head is penalised like the baseline's on the embedder.
    """
    network = ClassifierNetwork(base.backbone(), len(data.labels), settings.dropout, settings.reach).to(device())
    texts = [example.text for example in data.train]
    projection = fit_projection(network, base, texts, embedder, settings.seed)
    with torch.no_grad():
        states = projection(torch.from_numpy(mean_states(network, base.encode(texts, settings.crop)))).numpy()
        coef, bias = regression(states, data.targets(data.train), len(data.labels), HEAD_STRENGTH, 300)
    network.projection, network.head = projection, torch.nn.Linear(states.shape[1], len(data.labels))
    network.head.load_state_dict({"weight": torch.from_numpy(coef), "bias": torch.from_numpy(bias)})
    return network.to(device()).eval()


def fit_projection(
    network: ClassifierNetwork, base: Base, texts: Sequence[str], embedder: Embedder, seed: int
) -> Projection:
    """Return the projection that comes nearest to ``embedder`` on ``texts`` and a variant of each."""
    words = [text.split()[:WORDS] for text in texts]
    passages = [" ".join(text) for text in [*words, *variants(words, random.Random(seed))]]
    parts = tqdm(range(0, len(passages), PART), desc="embed", unit="part")
    targets = np.vstack([embedder.embed(passages[start : start + PART]) for start in parts])
    weight, bias = ridge(mean_states(network, base.encode(passages)), targets)
    return Projection(torch.from_numpy(weight), torch.from_numpy(bias))


def variants(texts: Sequence[Sequence[str]], rng: random.Random) -> list[list[str]]:
    """Return one variant of each text, given and returned as its words; four kinds take turns."""
    vocabulary = [word for words in texts for word in words]

    def tail(words: Sequence[str]) -> list[str]:
        return list(words[rng.randint(0, len(words)) :])

    result = []
    for number, words in enumerate(texts):
        cut = rng.randint(0, len(words))
        kinds = (
            lambda words=words: [word for word in words if rng.random() >= CHANGED],
            lambda words=words, cut=cut: words[:cut] if rng.random() < 0.5 else words[cut:],
            lambda words=words, cut=cut: (words[:cut] + tail(rng.choice(texts)))[:WORDS],
            lambda words=words: [rng.choice(vocabulary) if rng.random() < CHANGED else word for word in words],
        )
        result.append(kinds[number % len(kinds)]() or list(words))
    return result


def ridge(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (out, in) and bias (out,) of the ridge regression of ``targets`` (rows, out) on ``inputs`` (rows,
    in).
    """
    mean, target_mean = inputs.mean(0, dtype=np.float64), targets.mean(0, dtype=np.float64)
    centred = inputs - mean
    gram = centred.T @ centred
    gram += RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram, centred.T @ (targets - target_mean)).T
    return weight.astype(np.float32), (target_mean - weight @ mean).astype(np.float32)
