"""The network that is fine-tuned: a Mistral-like backbone, its mean state, one linear layer, and a path for bare words."""

from __future__ import annotations

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from models.recipes.base.student import mean_state
from models.recipes.finetune.words import WordPath
from pipeline.classify import HEAD_SHARE


class Readout(torch.nn.Module):
    """Mean states (batch, width) to embeddings of length one (batch, dimension); `models.recipes.finetune.readout` fits it."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return functional.normalize(functional.linear(states.float(), self.weight, self.bias), dim=-1)


class Classifier(torch.nn.Module):
    """(input_ids, attention_mask), each (batch, length), to logits (batch, labels).

    The two paths are added: what the backbone understands, and what the words alone say (`words`, once it is fitted). Of a text
    longer than ``reach`` tokens the backbone reads the head and the tail, as `pipeline.classify.encode` cuts them; the words read
    all of it, at a hundredth of the cost. The head stands on the mean state, or, where there is a ``readout``, on what that makes of it.
    """

    def __init__(self, backbone: PreTrainedModel, labels: int, dropout: float = 0.1, reach: int = 512) -> None:
        super().__init__()
        self.backbone = backbone
        self.reach = reach
        self.dropout = torch.nn.Dropout(dropout)
        self.head = torch.nn.Linear(backbone.config.hidden_size, labels)
        self.words: WordPath | None = None
        self.readout: Readout | None = None

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.states(input_ids, attention_mask)
        logits = self.head(self.dropout(states if self.readout is None else self.readout(states)))
        return logits if self.words is None else logits + self.words(input_ids, attention_mask)

    def states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The mean of the last states over a text's tokens: (batch, width)."""
        input_ids, attention_mask = reached(input_ids, attention_mask, self.reach)
        embedded = self.backbone.get_input_embeddings()(input_ids)
        seen = visible(self.backbone.config, attention_mask, embedded.dtype)
        out = self.backbone(inputs_embeds=embedded, attention_mask=seen, use_cache=False)
        return mean_state(out.last_hidden_state, attention_mask)


def reached(ids: torch.Tensor, mask: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of each text's head and tail, ``reach`` tokens in all at most; padding stands on the right."""
    place = torch.arange(torch.sym_min(ids.shape[1], reach), device=ids.device)
    beyond = (mask.sum(1, keepdim=True) - reach).clamp(min=0)
    index = place + beyond * (place >= int(reach * HEAD_SHARE))
    return ids.gather(1, index), mask.gather(1, index)


def visible(config, mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What each token may see, as the addend of the attention scores, (batch, 1, length, length): no padding; what lies ahead
    only where the model reads both ways; nothing farther away than its sliding window."""
    length = mask.shape[1]
    place = torch.arange(length, device=mask.device)
    ahead = place[None, :] - place[:, None]
    seen = mask[:, None, None, :].bool().expand(-1, 1, length, -1)
    if getattr(config, "is_causal", True):
        seen = seen & (ahead <= 0)
    window = getattr(config, "sliding_window", None)
    if window:
        seen = seen & (ahead.abs() < window)
    return (~seen).to(dtype) * torch.finfo(dtype).min
