"""The generated documents of the built-in classifier: of every class, different, and those for calibration of templates of their own."""

from __future__ import annotations

import random
from collections import Counter

from models.recipes.document_type.prepare import LABELS, read_synthetic, read_unseen, split_of
from models.recipes.document_type.unseen import TEMPLATES


def test_generated_documents_have_our_labels_and_differ() -> None:
    samples = list(read_synthetic(12, random.Random(7)))
    assert {sample.label for sample in samples} <= set(LABELS)
    assert len({sample.text for sample in samples}) == len(samples)
    assert not any("{" in sample.text for sample in samples if sample.label != "other")


def test_the_same_seed_gives_the_same_documents() -> None:
    first, second = (list(read_synthetic(4, random.Random(7))) for _ in range(2))
    assert first == second


def test_unseen_templates_are_for_calibration_alone() -> None:
    samples = list(read_unseen(5, random.Random(7)))
    assert {sample.split for sample in samples} == {"calibration"}
    assert Counter(sample.label for sample in samples) == dict.fromkeys(TEMPLATES, 5)
    assert set(TEMPLATES) <= set(LABELS)
    assert not any("{" in sample.text for sample in samples)


def test_a_repetition_stays_on_its_side() -> None:
    assert split_of("A  text\nof three lines") == split_of("a text of THREE lines")
