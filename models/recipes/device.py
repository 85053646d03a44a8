"""Where a training runs, and in which precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def half() -> bool:
    """Whether products in bfloat16 pay here: on a GPU, and on processors that have an instruction for them. Without one they are
    done number by number: 1.3 billion operations a second where single precision does 67 (two cores with AVX2 alone, 2026-11-25)."""
    if device().type == "cuda":
        return torch.cuda.is_bf16_supported()
    return any(value is True for name, value in torch.cpu.get_capabilities().items() if "bf16" in name)


def mixed(exact: bool = False) -> AbstractContextManager:
    """Products in bfloat16 where they pay (see `half`), never where the result is to be ``exact``."""
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=not exact and half())
