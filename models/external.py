"""Detects ONNX files that keep tensor data in other files, from the protobuf wire format.

The `onnx` package is not installed where models are served. A tensor may name another file (``data_location =
EXTERNAL``, a path relative to the model). A version folder that is verified by digest must not point outside itself,
so such tensors are refused altogether.
"""

from __future__ import annotations

from collections.abc import Iterator

# Field numbers of onnx.proto: the path from a model to every tensor in it.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14


def has_external_data(content: bytes) -> bool:
    """Return whether any tensor of the model lies outside ``content``; also true if it is not readable protobuf."""
    try:
        return _search(memoryview(content), "model")
    except (IndexError, ValueError, RecursionError):
        return True


def _search(message: memoryview, kind: str) -> bool:
    children = _CHILDREN.get(kind, {})
    for number, value in message_fields(message):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1)):
            return True
        if number in children and isinstance(value, memoryview) and _search(value, children[number]):
            return True
    return False


def message_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview | None]]:
    """Yield (field number, varint or bytes) of one message; None for values of fixed width, which are skipped."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        wire = key & 7
        value: int | memoryview | None = None
        if wire == 0:
            value, place = _varint(message, place)
        elif wire == 2:
            size, place = _varint(message, place)
            if place + size > len(message):
                raise ValueError("a field runs past the end")
            value, place = message[place : place + size], place + size
        elif wire in (1, 5):
            place += 8 if wire == 1 else 4
        else:
            raise ValueError("not a protobuf")
        yield key >> 3, value


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return the varint at ``place`` and the place after it."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("not a varint")
