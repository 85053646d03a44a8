"""The generated documents of the built-in classifier: different ones for every class, and other templates for
calibration.
"""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from models.recipes.document_type.prepare import read_synthetic, read_unseen, split_of
from models.recipes.document_type.templates import FOLDER, WORDS, render
from models.registry import SHIPPED, open_version

LABELS = set(open_version(SHIPPED, "document-type").manifest.labels)


def test_generated_documents_have_our_labels_and_differ() -> None:
    samples = list(read_synthetic(12, random.Random(7)))
    assert {sample.label for sample in samples} == {file.stem for file in FOLDER.glob("*.toml")} - {WORDS, "unseen"}
    assert {sample.label for sample in samples} <= LABELS
    assert len({sample.text for sample in samples}) == len(samples) > 12 * 15
    assert not any(mark in sample.text for sample in samples for mark in "{}")


def test_the_same_seed_gives_the_same_documents() -> None:
    first, second = (list(read_synthetic(4, random.Random(7))) for _ in range(2))
    assert first == second


def test_unseen_templates_are_for_calibration_alone() -> None:
    samples = list(read_unseen(5, random.Random(7)))
    counts = Counter(sample.label for sample in samples)
    assert {sample.split for sample in samples} == {"calibration"}
    assert set(counts.values()) == {5} and set(counts) <= LABELS and len(counts) == 17
    assert not any("{" in sample.text for sample in samples)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("{name} and {name:first:upper}", "Ada Abel and ADA"),
        ("{a|b{c|d}}", "a|bc|bd"),
        ("{1..3} {07..09} {1.00..2.00}", r"[123] 0[789] [12]\.\d\d"),
        ("{1,000..9,000}", r"\d,\d{3}"),
        ("{2-2 ordered rows by line}", "(one|two)\n(two|three)"),
        ("{5-5 times rows by space}", "(?:(?:one|two|three) ?){5}"),
        ("{3-3 ordered rows as numbered}", r"1\) one\n\n2\) two\n\n3\) three"),
        ("start\n\n{|}\n\nend", "start\n\nend"),
    ],
)
def test_slots_of_a_template_are_filled(text: str, pattern: str) -> None:
    """The slots that templates.py describes, each in twenty drawings."""
    lists = {
        "text": text,
        "let": {"name": "{person}"},
        "person": "Ada Abel",
        "rows": ["one", "two", "three"],
        "numbered": "{#}) {entry}",
        "line": "\n",
        "space": " ",
        "block": "\n\n",
    }
    for seed in range(20):
        assert re.fullmatch(pattern, render(lists, random.Random(seed)))


def test_a_repetition_stays_on_its_side() -> None:
    assert split_of("A  text\nof three lines") == split_of("a text of THREE lines")
