"""The language of a text, by langdetect-rs where it is installed, else by langdetect (the same profiles, slower)."""

from __future__ import annotations

import re

_SAMPLE = 4000
_LEAST = 40  # letters: shorter texts are guessed wrong more often than not
_SURE = 0.7
_LINK = re.compile(r"https?://\S+|\S+@\S+|[\d_]+")


def detect(text: str) -> tuple[str, ...]:
    """ISO 639-1 codes, the likeliest first; empty when there is too little text. Deterministic."""
    sample = _LINK.sub(" ", text[: 2 * _SAMPLE])[:_SAMPLE]
    if sum(c.isalpha() for c in sample) < _LEAST:
        return ()
    try:
        from langdetect_rs import DetectorFactory, detect_langs
    except ModuleNotFoundError:
        from langdetect import DetectorFactory, detect_langs
    DetectorFactory.seed = 0
    try:
        guesses = detect_langs(sample)
    except Exception:  # the library's own exception, which differs between the two
        return ()
    return tuple(entry.lang for entry in guesses if entry.prob >= _SURE)[:1]
