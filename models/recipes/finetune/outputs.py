"""The outputs of a network for many texts: logits, bag-of-words scores, mean states."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tqdm import tqdm

from models.recipes.device import mixed
from models.recipes.finetune.bag_of_words import BagOfWords
from models.recipes.finetune.network import ClassifierNetwork
from pipeline.onnx import batches

#: Tokens of a batch, padding included.
BATCH = 8192


@torch.no_grad()
def logits_of(network: ClassifierNetwork, texts: Sequence[Sequence[int]], exact: bool = False) -> np.ndarray:
    """Return the logits (texts, labels) of token id lists, in their order; in single precision if ``exact``."""
    return _outputs(network, texts, network.__call__, network.head.out_features, exact)


@torch.no_grad()
def bag_of_words_scores(branch: BagOfWords, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Return what the bag-of-words branch adds to the logits: (texts, labels)."""
    out = np.zeros((len(texts), len(branch.bias)), dtype=np.float32)
    for batch in batches(texts, BATCH):
        ids, mask = torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)
        out[list(batch.rows)] = branch(ids, mask).numpy()
    return out


@torch.no_grad()
def mean_states(network: ClassifierNetwork, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the backbone's mean states: (texts, width)."""
    return _outputs(network, texts, network.states, network.backbone.config.hidden_size)


def _outputs(
    network: ClassifierNetwork,
    texts: Sequence[Sequence[int]],
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    width: int,
    exact: bool = False,
) -> np.ndarray:
    network.eval()
    out = np.zeros((len(texts), width), dtype=np.float32)
    place = next(network.parameters()).device
    for batch in tqdm(list(batches(texts, BATCH)), desc="read", unit="batch", mininterval=5, leave=False):
        ids, mask = torch.from_numpy(batch.input_ids).to(place), torch.from_numpy(batch.attention_mask).to(place)
        with mixed(exact):
            out[list(batch.rows)] = function(ids, mask).float().cpu().numpy()
    return out
