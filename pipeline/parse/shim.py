"""Stands in for unstructured's tokenizer, which would load a spaCy model and, where it is missing, fetch it.

unstructured asks three questions to tell a title from running text: which sentences, which words, and is there a verb.
Regular expressions answer them well enough (text and order of the elements do not depend on it) and 3 to 30 times faster.
"""

from __future__ import annotations

import re
import sys
import types

_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+(?=[^\s])")
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")
_VERBS = frozenset(
    [
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "being",
        "am",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "can",
        "could",
        "may",
        "might",
        "must",
        "shall",
        "should",
        "will",
        "would",
        "said",
        "says",
        "say",
        "made",
        "make",
        "makes",
        "get",
        "gets",
        "got",
        "go",
        "goes",
        "went",
        "take",
        "takes",
        "took",
        "see",
        "sees",
        "saw",
        "know",
        "knows",
        "use",
        "uses",
        "used",
        "need",
        "needs",
        "find",
        "give",
        "gives",
        "gave",
        "tell",
        "told",
        "come",
        "comes",
        "came",
        "want",
        "wants",
        "provide",
        "provides",
        "include",
        "includes",
        "please",
        "ist",
        "sind",
        "war",
        "waren",
        "hat",
        "haben",
        "wird",
        "werden",
        "kann",
        "muss",
        "soll",
        "est",
        "sont",
        "était",
        "ont",
        "avait",
        "peut",
        "doit",
        "es",
        "son",
        "era",
        "fue",
        "han",
    ]
)
_VERB_ENDING = re.compile(r".{2,}(?:ed|ing|izes?|ises?|ifies|ify|ates?)$")
_RUNNING = 12  # a line of so many words has a verb in any language


def sent_tokenize(text: str) -> list[str]:
    return _SENTENCE.split(text)


def word_tokenize(text: str) -> list[str]:
    return _WORD.findall(text)


def pos_tag(text: str) -> list[tuple[str, str]]:
    """(word, tag); only verbs are told apart, since only they are asked for."""
    words = _WORD.findall(text)
    if len(words) > _RUNNING:
        return [(word, "VB") for word in words[:1]]
    return [(word, "VB" if _is_verb(word) else "NN") for word in words]


def _is_verb(word: str) -> bool:
    lower = word.lower()
    return lower in _VERBS or (word.islower() and _VERB_ENDING.match(word) is not None)


def install() -> None:
    """Put this in the place of ``unstructured.nlp.tokenize``; call before importing any partitioner."""
    module = types.ModuleType("unstructured.nlp.tokenize")
    module.sent_tokenize, module.word_tokenize, module.pos_tag = sent_tokenize, word_tokenize, pos_tag
    sys.modules["unstructured.nlp.tokenize"] = module
