"""A PyTorch network to an ONNX file, the same for every recipe."""

from __future__ import annotations

from pathlib import Path

import torch

from models.recipes.suppress_warnings import suppress_warnings


def to_onnx(network: torch.nn.Module, target: Path, output: str, vocabulary: int = 2000) -> None:
    """Write a network from (input_ids, attention_mask) to ``output``, for any batch and length, in full precision.

    ``vocabulary`` bounds the token ids of the example that the exporter follows.
    """
    ids = torch.randint(5, min(2000, vocabulary), (3, 17))
    mask = torch.ones_like(ids)
    mask[0, 9:] = 0
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    with suppress_warnings():
        program = torch.onnx.export(
            network.eval(),
            (ids, mask),
            dynamo=True,
            input_names=["input_ids", "attention_mask"],
            output_names=[output],
            dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
            verbose=False,
        )
        program.save(str(target), external_data=False)
