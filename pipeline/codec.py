"""Stage outputs as bytes: JSON, versioned by their keys. Attachments are documents of their own and are left out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from pipeline.documents import Element, Parsed, Prediction


def encode_parsed(parsed: Parsed) -> bytes:
    """A parse result without its attachments."""
    values = asdict(parsed)
    del values["attachments"]
    return _dump(values)


def decode_parsed(payload: bytes) -> Parsed:
    """The inverse of `encode_parsed`."""
    values = json.loads(payload)
    elements = tuple(Element(**{**each, "links": tuple(each["links"])}) for each in values.pop("elements"))
    for name in ("languages", "flags"):
        values[name] = tuple(values[name])
    return Parsed(elements=elements, **values)


def encode_prediction(prediction: Prediction) -> bytes:
    """Return a prediction in its stored form."""
    return _dump(asdict(prediction))


def decode_prediction(payload: bytes) -> Prediction:
    """The inverse of `encode_verdict`."""
    values = json.loads(payload)
    return Prediction(**{**values, "also": tuple(values.get("also", ()))})


def _dump(values: Any) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
