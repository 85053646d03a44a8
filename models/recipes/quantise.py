"""8-bit weights for a network in ONNX, shared by all recipes."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer


def quantise(full: Path, target: Path) -> None:
    """8-bit weights in blocks of 128 with a scale each, activations quantised per block too; 8-bit token embeddings.

    Not the classic dynamic quantisation: its one activation scale per batch lets a text's neighbours change its result,
    and on all-MiniLM-L6-v2 it agrees less (cosine to full precision 0.9926 on average and 0.979 at the least, against
    0.9988 and 0.997; 1,000 texts, 2026-11-24).
    """
    logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer").setLevel(logging.CRITICAL)
    blocks = MatMulNBitsQuantizer(
        onnx.load(full), bits=8, block_size=128, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
    )
    blocks.process()
    middle = target.with_suffix(".blocks.onnx")
    onnx.save(blocks.model.model, middle)
    quantize_dynamic(middle, target, weight_type=QuantType.QInt8, op_types_to_quantize=["Gather"])
    middle.unlink()
