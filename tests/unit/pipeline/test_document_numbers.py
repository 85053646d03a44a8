"""Sets of document numbers behave as frozensets do."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.document_numbers import DocumentNumbers

SETS = st.frozensets(st.integers(0, 60), max_size=30)


@given(a=SETS, b=SETS)
def test_it_agrees_with_frozenset(a: frozenset[int], b: frozenset[int]) -> None:
    left, right = DocumentNumbers(a), DocumentNumbers(b)
    assert left == a and a == left and len(left) == len(a) and list(left) == sorted(a)
    assert left - right == a - b == left - b == a - right
    assert left & right == a & b == a & right
    assert left | right == a | b
    assert (left == right) == (a == b) and (left <= right) == (a <= b)
    assert all(number in left for number in a) and -1 not in left and 10**12 not in left
    assert a != b or hash(left) == hash(right)


@given(a=SETS, checked=SETS, still_visible=SETS)
def test_a_set_that_was_altered(a: frozenset[int], checked: frozenset[int], still_visible: frozenset[int]) -> None:
    derived_from, still_visible = DocumentNumbers(a), still_visible & checked
    after = derived_from.updated(DocumentNumbers(checked), DocumentNumbers(still_visible))
    assert after == (a - checked) | still_visible and list(after) == sorted(after) and DocumentNumbers(after) == after
    assert (after is derived_from) == (after == a)
    if after is not derived_from:
        assert (
            after.derived_from[0] is derived_from.token and set(after.derived_from[1].tolist()) == after ^ derived_from
        )


@given(a=SETS)
def test_members_of_an_array(a: frozenset[int]) -> None:
    asked = np.array([-5, 0, 1, 7, 60, 61, 10**9], np.int64)
    assert DocumentNumbers(a).member(asked).tolist() == [number in a for number in asked.tolist()]


def test_the_same_object_is_kept() -> None:
    numbers = DocumentNumbers([3, 1, 3])
    assert DocumentNumbers.of(numbers) is numbers and numbers.array.tolist() == [1, 3]
