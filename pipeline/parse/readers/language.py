"""The language of a text, by langdetect-rs if installed, otherwise by langdetect (the same profiles, slower)."""

from __future__ import annotations

import re

_SAMPLE = 4000
_MIN_LETTERS = 40  # the guess for a shorter text is more often wrong than right
_MIN_PROBABILITY = 0.7
_NOT_PROSE = re.compile(r"https?://\S+|\S+@\S+|[\d_]+")


def detect(text: str) -> tuple[str, ...]:
    """Return the ISO 639-1 code of the likeliest language; nothing if the text is too short. Deterministic."""
    sample = _NOT_PROSE.sub(" ", text[: 2 * _SAMPLE])[:_SAMPLE]
    if sum(c.isalpha() for c in sample) < _MIN_LETTERS:
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
    return tuple(guess.lang for guess in guesses if guess.prob >= _MIN_PROBABILITY)[:1]
