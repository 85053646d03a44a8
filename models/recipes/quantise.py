"""8-bit weights for an ONNX network, shared by all recipes; 4-bit ones where a file has to be small."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from models.recipes.suppress_warnings import suppress_warnings


def quantise(full: Path, target: Path) -> None:
    """Write 8-bit weights in blocks of 128 with a scale each, and 8-bit token embeddings; activations are quantised per
    block too.

    Not the classic dynamic quantisation: with its one activation scale per batch, a text's neighbours change its
    result, and on all-MiniLM-L6-v2 it agrees less (cosine to full precision 0.9926 on average and 0.979 at the least,
    against 0.9988 and 0.997; 1,000 texts, 2026-11-24).
    """
    with suppress_warnings():
        blocks = MatMulNBitsQuantizer(
            onnx.load(full),
            bits=8,
            block_size=128,
            is_symmetric=True,
            accuracy_level=4,
            op_types_to_quantize=("MatMul",),
        )
        blocks.process()
        intermediate = target.with_suffix(".blocks.onnx")
        onnx.save(blocks.model.model, intermediate)
        quantize_dynamic(intermediate, target, weight_type=QuantType.QInt8, op_types_to_quantize=["Gather"])
    intermediate.unlink()


def quantise_to_4_bits(full: Path, target: Path) -> None:
    """Write 4-bit weights in blocks of 32 with a scale and a zero point each, token embeddings too."""
    with suppress_warnings():
        blocks = MatMulNBitsQuantizer(
            onnx.load(full), bits=4, block_size=32, accuracy_level=4, op_types_to_quantize=("MatMul", "Gather")
        )
        # Blocks of zeros, such as the padding's vector, have no scale.
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks.process()
        onnx.save(blocks.model.model, target)


def dequantised(content: bytes) -> dict[str, np.ndarray]:
    """Return the weights of a network that `quantise` wrote, in single precision, by their names in the full network.

    One-dimensional weights are as they are, matrices (out, in) like a linear layer's, the token table (tokens, width).
    """
    graph = onnx.load_from_string(content).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    weights = {
        name: numpy_helper.to_array(tensor)
        for name, tensor in stored.items()
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 1 and "." in name
    }
    for node in graph.node:
        if node.op_type == "MatMulNBits":
            # The quantiser appends its parameters to the weight's name.
            weights[re.sub(r"_Q\d+(G\d+)?$", "", node.input[1])] = block_matrix(node, stored)
        elif node.op_type == "DequantizeLinear" or (node.op_type == "Gather" and node.input[0].endswith("_quantized")):
            name = node.input[0].removesuffix("_quantized")
            if f"{name}_scale" in stored and f"{name}_quantized" in stored:
                table, scale, zero = (
                    numpy_helper.to_array(stored[f"{name}_{part}"]) for part in ("quantized", "scale", "zero_point")
                )
                weights[name] = (table.astype(np.float32) - zero) * scale
    return weights


def block_matrix(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> np.ndarray:
    """Return the (out, in) matrix of a block-wise 8-bit product: symmetric, so its zero point is 128."""
    sizes = {attribute.name: attribute.i for attribute in node.attribute}
    packed = numpy_helper.to_array(stored[node.input[1]]).reshape(sizes["N"], -1, sizes["block_size"])
    scales = numpy_helper.to_array(stored[node.input[2]]).reshape(sizes["N"], -1, 1)
    return ((packed.astype(np.float32) - 128.0) * scales).reshape(sizes["N"], -1)[:, : sizes["K"]]
