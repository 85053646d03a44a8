"""What a network says of many texts: logits, word scores, mean states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from tqdm import tqdm

from models.recipes.device import mixed
from models.recipes.finetune.network import Classifier
from models.recipes.finetune.words import WordPath
from pipeline.onnx import batches


@torch.no_grad()
def logits_of(network: Classifier, texts: Sequence[Sequence[int]], exact: bool = False) -> np.ndarray:
    """Logits of token id lists, in their order: (texts, labels); in single precision throughout if ``exact``."""
    return _over(network, texts, network.__call__, network.head.out_features, exact)


@torch.no_grad()
def word_scores(words: WordPath, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """What the word path adds: (texts, labels)."""
    out = np.zeros((len(texts), len(words.bias)), dtype=np.float32)
    for batch in batches(texts, 8192):
        out[list(batch.rows)] = words(torch.from_numpy(batch.input_ids), torch.from_numpy(batch.attention_mask)).numpy()
    return out


@torch.no_grad()
def mean_states(network: Classifier, texts: Sequence[Sequence[int]]) -> np.ndarray:
    """The backbone's mean states: (texts, width)."""
    return _over(network, texts, network.states, network.backbone.config.hidden_size)


def _over(network: Classifier, texts: Sequence[Sequence[int]], function, width: int, exact: bool = False) -> np.ndarray:
    network.eval()
    out = np.zeros((len(texts), width), dtype=np.float32)
    place = next(network.parameters()).device
    for batch in tqdm(list(batches(texts, 8192)), desc="read", unit="batch", mininterval=5, leave=False):
        ids, mask = torch.from_numpy(batch.input_ids).to(place), torch.from_numpy(batch.attention_mask).to(place)
        with mixed(exact):
            out[list(batch.rows)] = function(ids, mask).float().cpu().numpy()
    return out
