"""The network: a small Mistral with a classification head, read in both directions.

`MistralForSequenceClassification` as it is, with two differences that a document's type asks for: every token sees every
other one (the type is a property of the whole text, nothing is generated), and the mean over all tokens is scored instead
of the last token's state. Both need far less training data. The token embeddings start from MiniLM's, whose tokenizer is
used too, so that words that never occur in the training data still have a meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModel, MistralConfig, MistralForSequenceClassification


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of the network. The width is the teacher's, since its token embeddings are taken over."""

    width: int = 384
    layers: int = 4
    heads: int = 12
    key_value_heads: int = 4
    inner: int = 768
    window: int = 512


class DocumentType(torch.nn.Module):
    """(input_ids, attention_mask), each of shape (batch, length), to logits of shape (batch, labels)."""

    def __init__(self, shape: Shape, vocabulary: int, labels: int, attention: str = "sdpa") -> None:
        super().__init__()
        config = MistralConfig(
            vocab_size=vocabulary,
            hidden_size=shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            intermediate_size=shape.inner,
            max_position_embeddings=shape.window,
            sliding_window=None,
            num_labels=labels,
            pad_token_id=0,
            use_cache=False,
            attn_implementation=attention,
        )
        self.mistral = MistralForSequenceClassification(config)
        self.dropout = torch.nn.Dropout(0.1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        # A mask of four dimensions is taken as it is: padding is hidden, order is not.
        states = self.mistral.model.embed_tokens(input_ids)
        hidden = (1.0 - attention_mask[:, None, None, :].to(states.dtype)) * torch.finfo(states.dtype).min
        hidden = hidden.expand(-1, -1, input_ids.shape[1], -1)
        states = self.mistral.model(inputs_embeds=states, attention_mask=hidden).last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        return self.mistral.score(self.dropout(mean))

    def warm_start(self, teacher: Path) -> None:
        """Take over the token embeddings of a BERT-like model of the same width and vocabulary, scaled to the spread that
        a Mistral layer expects at its input."""
        table = AutoModel.from_pretrained(teacher).get_input_embeddings().weight.detach()
        own = self.mistral.model.embed_tokens.weight
        if table.shape != own.shape:
            raise ValueError(f"the teacher's embeddings have shape {tuple(table.shape)}, expected {tuple(own.shape)}")
        with torch.no_grad():
            own.copy_(table)
            own[0].zero_()
