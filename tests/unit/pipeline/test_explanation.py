"""The sentences that influence a prediction are reported with their places; the work is bounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify import OnnxClassifier, encode, visible_parts
from pipeline.documents import Element, Parsed
from pipeline.explanation import AGAINST, FOR, influences
from tests.support.tiny import make_classifier

WORDS = {"invoice": ("invoice", "total"), "letter": ("dear", "regards")}


@pytest.fixture
def classifier(tmp_path: Path) -> OnnxClassifier:
    return OnnxClassifier(make_classifier(tmp_path, "1", WORDS, weight=2.0, max_length=40))


def parsed(*texts: str) -> Parsed:
    elements = tuple(Element("NarrativeText", text, page) for page, text in enumerate(texts, start=1))
    return Parsed("text/plain", elements, len(texts), "test")


class Counting:
    """A classifier that counts the texts it gets."""

    def __init__(self, inner: OnnxClassifier) -> None:
        self._inner, self.labels, self.window, self.texts = inner, inner.labels, inner.window, 0

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        return self._inner.probabilities(texts)


def test_the_influential_sentence_has_its_page_and_place(classifier: OnnxClassifier) -> None:
    document = parsed("It rains here. Nothing else.", "The invoice has a total. Regards from us.", "The end is near.")
    spans, passes = influences(classifier, document, "invoice", 64)
    assert [span.text for span in spans] == ["The invoice has a total.", "Regards from us."]
    assert [span.page for span in spans] == [2, 2]
    assert all(document.text[span.start : span.end] == span.text for span in spans)
    # Two words at weight 2 for it, one against it: the log-odds are exactly known.
    assert [span.influence for span in spans] == [pytest.approx(4.0, abs=0.01), pytest.approx(-2.0, abs=0.01)]
    assert spans[0].without == pytest.approx(1 / (1 + np.exp(2)), abs=0.001)
    assert passes == 6


def test_many_sentences_in_bounded_passes(tmp_path: Path) -> None:
    wide = OnnxClassifier(make_classifier(tmp_path, "2", WORDS, weight=2.0, max_length=10_000))
    counting = Counting(wide)
    filler = [f"Sentence number {n} says nothing at all." for n in range(700)]
    filler[431] = "This invoice matters."
    spans, passes = influences(counting, parsed(" ".join(filler)), "invoice", 40)
    assert passes == counting.texts <= 40
    assert spans[0].text == "This invoice matters."
    assert len(spans) <= FOR + AGAINST


def test_only_what_the_classifier_sees_is_divided(classifier: OnnxClassifier) -> None:
    """The window is 40 tokens: the text between head and tail has no influence."""
    middle = "The invoice of the total stands here unseen. " * 30
    document = parsed("Dear Ann. " + "word " * 40 + middle + "word " * 20 + "Regards and nothing more.")
    spans, _ = influences(classifier, document, "letter", 64)
    assert {span.text.strip() for span in spans} >= {"Dear Ann.", "Regards and nothing more."} or len(spans) == 2
    assert not any("invoice" in span.text for span in spans)


@pytest.mark.parametrize("count", [5, 39, 40, 41, 400, 5000])
def test_the_window_is_what_was_encoded(classifier: OnnxClassifier, count: int) -> None:
    tokenizer = classifier._model.tokenizer
    words = ("invoice", "total", "dear", "regards", "other")
    text = " ".join(words[n * n % 5] for n in range(count))
    visible = " ".join(text[start:end] for start, end in visible_parts(tokenizer, text, 40))
    assert tokenizer.encode(visible).ids == encode(tokenizer, [text], 40)[0]


def test_nothing_to_explain() -> None:
    class Nobody:
        labels = ("a", "b")

        def window(self, text: str) -> tuple[tuple[int, int], ...]:
            return ()

        def probabilities(self, texts: Sequence[str]) -> np.ndarray:
            raise AssertionError("the classifier is not called")

    assert influences(Nobody(), parsed("  "), "a", 10) == ((), 0)


def test_pages_of_places() -> None:
    document = parsed("first", "second")
    assert [document.page_at(at) for at in (0, 4, 7, 12)] == [1, 1, 2, 2]
