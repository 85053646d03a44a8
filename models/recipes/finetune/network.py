"""The network that is fine-tuned: a Mistral-like backbone, one linear layer, and a bag-of-words branch."""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from models.recipes.base.student import mean_state
from models.recipes.finetune.bag_of_words import BagOfWords
from pipeline.classify import HEAD_SHARE


class Projection(torch.nn.Module):
    """Mean states (batch, width) to embeddings of length one (batch, dimension); `fit_projection` fits it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of mean states."""
        return functional.normalize(functional.linear(states.float(), self.weight, self.bias), dim=-1)


class ClassifierNetwork(torch.nn.Module):
    """(input_ids, attention_mask), each (batch, length), to logits (batch, labels).

    Two branches are added: the backbone's, and the bag of words' once it is fitted. Of a text longer than ``reach``
    tokens the backbone reads the head and the tail, as `pipeline.classify.encode` cuts them; the bag of words reads all
    of it, at a hundredth of the cost. The head reads the mean state, or, where there is a ``projection``, its result.
    """

    def __init__(self, backbone: PreTrainedModel, labels: int, dropout: float = 0.1, reach: int = 512) -> None:
        super().__init__()
        self.backbone = backbone
        self.reach = reach
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(backbone.config.hidden_size, labels)
        self.bag_of_words: BagOfWords | None = None
        self.projection: Projection | None = None

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        states = self.states(input_ids, attention_mask)
        logits = self.head(self.dropout(states if self.projection is None else self.projection(states)))
        return logits if self.bag_of_words is None else logits + self.bag_of_words(input_ids, attention_mask)

    def states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Return the mean of the last states over a text's tokens: (batch, width)."""
        input_ids, attention_mask = head_and_tail(input_ids, attention_mask, self.reach)
        embedded = self.backbone.get_input_embeddings()(input_ids)
        bias = attention_bias(self.backbone.config, attention_mask, embedded.dtype)
        out = self.backbone(inputs_embeds=embedded, attention_mask=bias, use_cache=False)
        return mean_state(out.last_hidden_state, attention_mask)


def head_and_tail(ids: torch.Tensor, mask: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of each text's head and tail, at most ``reach`` tokens in all; padding is on the right."""
    place = torch.arange(torch.sym_min(ids.shape[1], reach), device=ids.device)
    beyond = (mask.sum(1, keepdim=True) - reach).clamp(min=0)
    index = place + beyond * (place >= int(reach * HEAD_SHARE))
    return ids.gather(1, index), mask.gather(1, index)


def attention_bias(config: PretrainedConfig, mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the attention scores, (batch, 1, length, length): 0 where a token is visible.

    Padding is never visible, later tokens only where the model reads both ways, and nothing beyond its sliding window.
    """
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device)
    ahead = place[None, :] - place[:, None]
    visible = mask[:, None, None, :].bool().expand(-1, 1, length, -1)
    if getattr(config, "is_causal", True):
        visible = visible & (ahead <= 0)
    window = getattr(config, "sliding_window", None)
    if window:
        visible = visible & (ahead.abs() < window)
    return (~visible).to(dtype) * torch.finfo(dtype).min
