"""The organisation's labels for a model's outputs: operations, their reverse, models from before, between and after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Refused
from pipeline.taxonomy import (
    NEVER,
    Operation,
    current_name,
    effective_operations,
    labelling,
    validate_operation,
    validate_sides,
)

LABELS = ("contract", "invoice", "letter", "memo")
LIMITS = (0.5, 0.9, 0.7, 0.8)
ROW = np.array([[0.1, 0.2, 0.3, 0.4]])


def operation(number: int, kind: str, labels: str, into: str = "", undoes: int | None = None) -> Operation:
    back = "" if undoes is None else str(undoes)
    return Operation(str(number), float(number), "ann", kind, tuple(labels.split()), tuple(into.split()), back)


def current_labels(
    *operations: Operation, since: str = "", labels: tuple[str, ...] = LABELS
) -> dict[str, tuple[float, float]]:
    """Return (probability, threshold) by current label."""
    mapping = labelling(labels, LIMITS[: len(labels)], operations, since)
    rows = mapping.probabilities(ROW[:, : len(labels)])
    return {
        label: (round(float(p), 6), t) for label, p, t in zip(mapping.labels, rows[0], mapping.thresholds, strict=True)
    }


PLAIN = current_labels()


def test_a_renamed_label_keeps_its_probability_and_threshold() -> None:
    labels = current_labels(operation(1, "rename", "letter", "mail"))
    assert labels == {**{k: v for k, v in PLAIN.items() if k != "letter"}, "mail": PLAIN["letter"]}


def test_merged_labels_add_up_under_the_highest_threshold() -> None:
    labels = current_labels(operation(1, "merge", "letter memo", "letter"))
    assert labels["letter"] == (0.7, 0.8) and "memo" not in labels


def test_a_split_label_is_never_above_threshold_and_its_parts_wait_for_a_model() -> None:
    labels = current_labels(operation(1, "split", "invoice", "bill receipt"))
    assert labels["invoice"] == (0.2, NEVER) and labels["bill"] == labels["receipt"] == (0.0, NEVER)
    narrower = current_labels(operation(1, "split", "invoice", "invoice receipt"))
    assert narrower["invoice"] == (0.2, NEVER)
    assert narrower.keys() == {*LABELS, "receipt"}


def test_a_retired_label_s_probability_goes_to_no_other() -> None:
    labels = current_labels(operation(1, "retire", "memo"))
    assert labels == {k: v for k, v in PLAIN.items() if k != "memo"}


def test_operations_follow_one_another() -> None:
    history = (
        operation(1, "rename", "letter", "mail"),
        operation(2, "merge", "mail memo", "post"),
        operation(3, "rename", "invoice", "letter"),
    )
    assert current_labels(*history) == {"contract": (0.1, 0.5), "post": (0.7, 0.8), "letter": (0.2, 0.9)}


def test_a_model_made_after_an_operation_is_not_changed_by_it() -> None:
    history = (operation(1, "rename", "letter", "mail"), operation(2, "rename", "memo", "letter"))
    assert current_labels(*history, since="2", labels=("contract", "mail", "letter")).keys() == {
        "contract",
        "mail",
        "letter",
    }
    assert current_labels(*history, since="1", labels=("contract", "mail", "memo")).keys() == {
        "contract",
        "mail",
        "letter",
    }
    assert current_labels(*history, since="of another installation").keys() == {"contract", "invoice", "mail", "letter"}


@pytest.mark.parametrize(
    ("operation_undone", "labels", "expected"),
    [
        (operation(1, "rename", "letter", "mail"), ("contract", "mail"), {"contract", "letter"}),
        (operation(1, "merge", "letter memo", "post"), ("contract", "post"), {"contract", "post", "letter", "memo"}),
        (operation(1, "split", "post", "letter memo"), ("contract", "letter", "memo"), {"contract", "post"}),
        (operation(1, "retire", "memo"), ("contract", "letter"), {"contract", "letter", "memo"}),
    ],
)
def test_what_is_undone_after_a_model_learned_it_is_reversed_for_it(
    operation_undone: Operation, labels: tuple[str, ...], expected: set[str]
) -> None:
    undo = operation(2, "undo", " ".join(operation_undone.into), " ".join(operation_undone.labels), undoes=1)
    assert current_labels(operation_undone, undo, since="1", labels=labels).keys() == expected
    assert current_labels(operation_undone, undo) == PLAIN  # for a model from before nothing ever happened
    assert effective_operations((operation_undone, undo)) == []


@given(st.lists(st.sampled_from(["rename", "merge", "split", "retire"]), max_size=6), st.randoms(use_true_random=False))
def test_undoing_everything_leads_back(kinds: list[str], random: object) -> None:
    history: list[Operation] = []
    for number, kind in enumerate(kinds):
        labels = sorted(labelling(LABELS, LIMITS, history).labels)
        take = random.sample(labels, {"merge": 2}.get(kind, 1))
        into = {"rename": [f"r{number}"], "merge": [f"m{number}"], "split": [f"a{number}", f"b{number}"], "retire": []}
        try:
            history.append(validate_operation(operation(number, kind, " ".join(take), " ".join(into[kind])), labels))
        except Refused:
            continue
    assert labelling(LABELS, LIMITS, history).probabilities(ROW).min() >= 0
    for number in range(100, 100 + len(history)):
        last = effective_operations(history)[-1]
        history.append(operation(number, "undo", " ".join(last.into), " ".join(last.labels), undoes=int(last.id)))
    assert current_labels(*history) == PLAIN


@pytest.mark.parametrize(
    ("kind", "labels", "into", "code"),
    [
        ("rename", ["letter"], ["memo"], "conflict"),
        ("rename", ["nothing"], ["x"], "not-found"),
        ("rename", ["letter"], ["letter"], "contradictory"),
        ("rename", ["letter"], ["x", "y"], "bad-request"),
        ("rename", ["letter"], ["a\nb"], "bad-request"),
        ("rename", ["letter"], [" x"], "bad-request"),
        ("rename", ["letter"], ["x" * 10_000], "bad-request"),
        ("merge", ["letter"], ["letter"], "contradictory"),
        ("merge", ["letter", "letter"], ["x"], "bad-request"),
        ("merge", [*LABELS], ["x"], "conflict"),
        ("split", ["letter"], ["x"], "bad-request"),
        ("split", ["letter"], ["x", "memo"], "conflict"),
        ("retire", ["letter"], ["x"], "bad-request"),
        ("paint", ["letter"], ["x"], "bad-request"),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, labels: list[str], into: list[str], code: str) -> None:
    with pytest.raises(Refused) as caught:
        validate_operation(Operation("1", 0.0, "ann", kind, *validate_sides(kind, labels, into)), LABELS)
    assert caught.value.code == code
    assert len(caught.value.detail) < 500


def test_merging_into_an_existing_label_includes_it() -> None:
    merge = validate_operation(operation(1, "merge", "letter", "memo"), LABELS)
    assert merge.labels == ("letter", "memo")


def test_a_person_s_label_has_its_current_name() -> None:
    history = (
        operation(1, "rename", "letter", "mail"),
        operation(2, "split", "memo", "x y"),
        operation(3, "retire", "x", ""),
    )
    assert current_name("letter", history) == "mail"
    assert current_name("letter", history, "1") == "letter"
    assert [current_name(label, history) for label in ("memo", "x", "y")] == [None, None, "y"]
