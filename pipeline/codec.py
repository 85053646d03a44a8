"""Stage outputs as bytes: JSON, stored under keys that change with everything the output depends on.

Attachments are documents of their own and are left out.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from pipeline.documents import Element, Parsed, PersonalSpan, Prediction


def cache_key(*parts: str) -> str:
    """Return the key of a stage's output: SHA-256 over input, stage, and the digests of configuration and model."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def encode_parsed(parsed: Parsed) -> bytes:
    """Encode a parse result without its attachments."""
    values = asdict(parsed)
    del values["attachments"]
    return _encode(values)


def decode_parsed(payload: bytes) -> Parsed:
    """Invert `encode_parsed`."""
    values = json.loads(payload)
    elements = tuple(Element(**{**element, "links": tuple(element["links"])}) for element in values.pop("elements"))
    for name in ("languages", "flags"):
        values[name] = tuple(values[name])
    if values.get("personal_data") is not None:
        values["personal_data"] = tuple(PersonalSpan(**span) for span in values["personal_data"])
    return Parsed(elements=elements, **values)


def encode_prediction(prediction: Prediction) -> bytes:
    """Encode a prediction."""
    return _encode(asdict(prediction))


def decode_prediction(payload: bytes) -> Prediction:
    """Invert `encode_prediction`."""
    values = json.loads(payload)
    return Prediction(**{**values, "also": tuple(values.get("also", ()))})


def _encode(values: dict[str, Any]) -> bytes:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
