"""Labelled texts: repetitions, splits, refusals that say what to do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.recipes.finetune.examples import FEWEST, SPLITS, Dataset, LabelledExample, dataset, read_jsonl
from pipeline.errors import Refused

WORDS = (
    "amber birch cedar delta ember fjord grove hazel inlet jetty knoll larch maple north ocean pine quay river".split()
)


def labelled(counts: dict[str, int], seed: int = 1) -> Iterator[LabelledExample]:
    rng = random.Random(seed)
    for label, count in counts.items():
        for number in range(count):
            yield LabelledExample(f"{' '.join(rng.choices(WORDS, k=8))} {label[0]}{number}", (label,))


def sides(data: Dataset) -> dict[str, set[str]]:
    return {name: {example.key for example in getattr(data, name)} for name in SPLITS}


def test_every_class_is_on_every_side_and_no_text_on_two() -> None:
    data = dataset(labelled({"a": 100, "b": 20, "c": FEWEST}), 7)
    by_split = sides(data)
    assert not (
        by_split["train"] & by_split["test"]
        or by_split["train"] & by_split["calibration"]
        or by_split["test"] & by_split["calibration"]
    )
    for name in SPLITS:
        assert {example.labels[0] for example in getattr(data, name)} == {"a", "b", "c"}
    assert len(data.train) > len(data.test) + len(data.calibration)


def test_the_split_depends_on_the_texts_and_the_seed_alone() -> None:
    examples = list(labelled({"a": 40, "b": 40}))
    again = examples[:]
    random.Random(9).shuffle(again)
    assert sides(dataset(examples, 3)) == sides(dataset(again, 3))
    assert dataset(examples, 3).fingerprint == dataset(again, 3).fingerprint != dataset(examples, 4).fingerprint


def test_repetitions_are_left_out_whatever_their_case_and_spaces() -> None:
    examples = [
        *labelled({"a": 20, "b": 20}),
        LabelledExample("  Same TEXT, here ", ("a",)),
        LabelledExample("same text here", ("a",)),
    ]
    data = dataset(examples, 1)
    assert data.dropped == 1
    assert sum(map(len, sides(data).values())) == 41


def test_a_text_under_two_labels_is_left_out_with_a_warning() -> None:
    data = dataset(
        [*labelled({"a": 20, "b": 20}), LabelledExample("torn", ("a",)), LabelledExample("Torn!", ("b",))], 1
    )
    assert data.dropped == 2
    assert "1 texts have different labels" in data.warnings[0]


def test_a_repetition_across_a_given_split_is_kept_on_the_side_that_is_trained_on() -> None:
    examples = [
        LabelledExample(e.text, e.labels, split=s)
        for s in SPLITS
        for e in labelled({"a": 9, "b": 9}, seed=SPLITS.index(s))
    ]
    twice = [LabelledExample("once more", ("a",), split="test"), LabelledExample("once more", ("a",), split="train")]
    data = dataset([*examples, *twice], 1)
    assert [e.text for e in data.train].count("once more") == 1
    assert "once more" not in [e.text for e in data.test]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 30}, "There is one class (a)"),
        ({}, "no labelled text"),
        ({"a": 30, "b": FEWEST - 1}, f"Fewer than {FEWEST} different examples of: b ({FEWEST - 1})"),
    ],
)
def test_labels_that_no_classifier_can_come_of_are_refused(counts: dict[str, int], message: str) -> None:
    with pytest.raises(Refused, match="bad-labels") as refused:
        dataset(labelled(counts), 1)
    assert message in refused.value.detail


def test_an_empty_side_is_refused() -> None:
    examples = [LabelledExample(e.text, e.labels, split="train") for e in labelled({"a": 10, "b": 10})]
    examples += [LabelledExample(e.text, e.labels, split="calibration") for e in labelled({"a": 9, "b": 9}, seed=2)]
    with pytest.raises(Refused, match="test split is empty"):
        dataset(examples, 1)


def test_a_label_that_stands_in_its_own_texts_is_warned_of() -> None:
    leaking = [LabelledExample(f"{e.text} Department: billing", ("billing",)) for e in labelled({"x": 30})]
    data = dataset([*leaking, *labelled({"other": 30}, seed=5)], 1)
    assert any("own name stands in nearly every text of: billing" in warning for warning in data.warnings)
    assert not dataset(labelled({"a": 30, "other": 30}), 1).warnings


def test_several_labels_become_columns() -> None:
    both = [LabelledExample(f"{e.text} both", ("a", "b")) for e in labelled({"x": 20})]
    data = dataset([*labelled({"a": 20, "b": 20}), *both], 1)
    assert data.multi
    targets = data.targets(data.train)
    assert targets.shape == (len(data.train), 2)
    assert set(targets.sum(1)) == {1.0, 2.0}


def test_what_the_command_line_wrote_is_read(tmp_path: Path) -> None:
    file = tmp_path / "examples.jsonl"
    file.write_text('{"text": "naïve", "labels": ["a", "b"], "identity": "d1"}\n', encoding="utf-8")
    assert list(read_jsonl(file)) == [LabelledExample("naïve", ("a", "b"), "d1", "")]
