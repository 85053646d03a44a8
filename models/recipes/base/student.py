"""The student: a small Mistral that reads in both directions.

`MistralModel` as it is: grouped-query attention, rotary positions, SwiGLU, RMSNorm. ``is_causal`` is off: a text's
meaning needs every word to see every other one, and nothing is generated. Its width is the teacher's and a few channels
more, one of which holds a constant: a Mistral has no biases, and what reads a constant channel has one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import MistralConfig, MistralModel

#: Rotary base. So large that of each head's pairs only a few turn quickly: the others carry meaning, at any distance.
ROPE_THETA = 1e6


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a student: ``width`` channels, ``layers``, ``heads`` for queries that share ``key_value_heads``."""

    width: int = 416
    layers: int = 6
    heads: int = 12
    key_value_heads: int = 6
    head_width: int = 64
    inner: int = 1024
    window: int = 2048
    sliding_window: int | None = None


#: A transplant keeps the teacher's layers and at most its neurons: "base" (43 M without the token table) needs a
#: teacher of twelve layers.
SHAPES = {"small": Shape(), "base": Shape(width=512, layers=12, inner=1536)}


def configuration(shape: Shape, vocabulary: int, attention: str = "sdpa") -> MistralConfig:
    """Return the Hugging Face configuration of a student; the shape's ``window`` is the longest text in tokens."""
    return MistralConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        intermediate_size=shape.inner,
        max_position_embeddings=shape.window,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        sliding_window=shape.sliding_window,
        is_causal=False,
        use_cache=False,
        pad_token_id=0,
        bos_token_id=101,
        eos_token_id=102,
        attn_implementation=attention,
    )


def new_student(shape: Shape, vocabulary: int) -> MistralModel:
    """Return a student with random weights."""
    return MistralModel(configuration(shape, vocabulary))


def mean_state(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean over a text's tokens: (batch, length, width) and (batch, length) to (batch, width)."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(1) / weight.sum(1).clamp(min=1.0)
