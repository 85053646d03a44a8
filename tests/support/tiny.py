"""A real classifier or embedder of a few hundred bytes: an ONNX network that counts words, and its tokenizer.

For tests in which it does not matter what a model has learned.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from models.registry import write_manifest
from pipeline.onnx import ModelFolder

FLOAT, INT64 = 1, 7


def make_classifier(
    root: Path,
    version: str,
    words: Mapping[str, Sequence[str]],
    name: str = "tiny",
    threshold: float = 0.6,
    weight: float = 4.0,
    max_length: int = 256,
    **manifest: Any,
) -> ModelFolder:
    """Write a version that predicts the label with most of its ``words`` in the text, each ``weight`` in the logits."""
    folder = root / name / version
    folder.mkdir(parents=True)
    labels = list(words)
    vocabulary = ["[UNK]", *dict.fromkeys(word for label in labels for word in words[label])]
    table = [[weight * (word in words[label]) for label in labels] for word in vocabulary]
    (folder / "model.onnx").write_bytes(network(table))
    (folder / "tokenizer.json").write_text(tokenizer(vocabulary))
    limits = dict.fromkeys(labels, threshold)
    fields = {"name": name, "version": version, "kind": "classifier", "labels": labels, "max_length": max_length}
    return write_manifest(folder, {**fields, **manifest, "thresholds": limits})


def make_embedder(
    root: Path, version: str, words: Sequence[str], dimension: int = 16, name: str = "tiny-e"
) -> ModelFolder:
    """Write a version that embeds a text as the normalised sum of its words' vectors, drawn from the version's name."""
    folder = root / name / version
    folder.mkdir(parents=True)
    vocabulary = ["[UNK]", *words]
    rng = random.Random(version)
    table = [[rng.gauss(0, 1) for _ in range(dimension)] for _ in vocabulary]
    (folder / "model.onnx").write_bytes(network(table, output="sentence_embedding"))
    (folder / "tokenizer.json").write_text(tokenizer(vocabulary))
    return write_manifest(folder, {"name": name, "version": version, "kind": "embedder", "dimension": dimension})


def tokenizer(vocabulary: Sequence[str]) -> str:
    """Return a tokenizer of lower-case words, whose ids are their places in the vocabulary."""
    word_level = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    word_level.normalizer = normalizers.Lowercase()
    word_level.pre_tokenizer = pre_tokenizers.Whitespace()
    return word_level.to_str()


def network(table: Sequence[Sequence[float]], external: str = "", output: str = "logits") -> bytes:
    """Return an ONNX network: the logits are the sum of the rows of ``table`` of all tokens but padding.

    ``external`` names a file that is declared to hold the table. Another ``output`` is the normalised logits.
    """
    raw = b"".join(struct.pack("<f", value) for row in table for value in row)
    weights = _tensor("table", FLOAT, (len(table), len(table[0])), raw, external)
    nodes = [
        _node("Gather", ["table", "input_ids"], "rows"),
        _node("Cast", ["attention_mask"], "mask", _attribute("to", FLOAT)),
        _node("Unsqueeze", ["mask", "last"], "wide"),
        _node("Mul", ["rows", "wide"], "kept"),
        _node("ReduceSum", ["kept", "length"], "logits", _attribute("keepdims", 0)),
    ]
    nodes += [_node("LpNormalization", ["logits"], output)] if output != "logits" else []
    axes = [_tensor("last", INT64, (1,), struct.pack("<q", 2)), _tensor("length", INT64, (1,), struct.pack("<q", 1))]
    inputs = [_value(name, INT64, ("batch", "length")) for name in ("input_ids", "attention_mask")]
    result = _value(output, FLOAT, ("batch", len(table[0])))
    parts = [(1, node) for node in nodes] + [(2, b"words")] + [(5, tensor) for tensor in (weights, *axes)]
    graph = b"".join(_field(n, part) for n, part in [*parts, *((11, value) for value in inputs), (12, result)])
    return _number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 13))


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, kind: int, shape: Sequence[int], raw: bytes, external: str = "") -> bytes:
    head = b"".join(_number(1, size) for size in shape) + _number(2, kind) + _field(8, name.encode())
    if not external:
        return head + _field(9, raw)
    return head + _field(13, _field(1, b"location") + _field(2, external.encode())) + _number(14, 1)


def _node(kind: str, inputs: Sequence[str], output: str, attribute: bytes = b"") -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    return names + _field(4, kind.encode()) + (_field(5, attribute) if attribute else b"")


def _attribute(name: str, value: int) -> bytes:
    return _field(1, name.encode()) + _number(3, value) + _number(20, 2)


def _value(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sizes = [_field(2, size.encode()) if isinstance(size, str) else _number(1, size) for size in shape]
    tensor = _number(1, kind) + _field(2, b"".join(_field(1, size) for size in sizes))
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
