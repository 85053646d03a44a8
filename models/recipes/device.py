"""Where a training runs, in which precision, and how texts become tensors there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from pipeline.onnx import batches


def device() -> torch.device:
    """Return the GPU where there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half() -> bool:
    """Return whether matrix products in bfloat16 pay on this machine.

    They do on a GPU, and on processors with an instruction for them. Without one they are computed number by number:
    1.3 billion operations a second where single precision does 67 (two cores with AVX2 alone, 2026-11-25).
    """
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported()
    return any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)


def mixed(exact: bool = False) -> AbstractContextManager:
    """Compute matrix products in bfloat16 where they pay (see `half`), unless the result is to be ``exact``."""
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=not exact and half())


def padded_tensors(texts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, each (texts, length), of token id lists in their order, on `device`."""
    batch = next(iter(batches(texts, 10**9)))
    order = np.argsort(batch.rows)
    ids, mask = batch.input_ids[order], batch.attention_mask[order]
    return torch.from_numpy(ids).to(device()), torch.from_numpy(mask).to(device())
