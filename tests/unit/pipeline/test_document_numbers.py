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
    assert left.isdisjoint(right) == left.isdisjoint(b) == a.isdisjoint(b)
    assert a != b or hash(left) == hash(right)


@given(a=SETS, checked=SETS, still_visible=SETS)
def test_an_updated_set(a: frozenset[int], checked: frozenset[int], still_visible: frozenset[int]) -> None:
    before, still_visible = DocumentNumbers(a), still_visible & checked
    after = before.updated(DocumentNumbers(checked), DocumentNumbers(still_visible))
    assert after == (a - checked) | still_visible and list(after) == sorted(after) and DocumentNumbers(after) == after
    assert (after is before) == (after == a)
    if after is not before:
        assert after.derived_from[0] is before.token and after.derived_from[1] == after ^ before


@given(a=SETS)
def test_members_of_an_array(a: frozenset[int]) -> None:
    numbers = np.array([-5, 0, 1, 7, 60, 61, 10**9], np.int64)
    assert DocumentNumbers(a).member(numbers).tolist() == [number in a for number in numbers.tolist()]


def test_an_existing_set_is_not_copied() -> None:
    numbers = DocumentNumbers([3, 1, 3])
    assert DocumentNumbers.of(numbers) is numbers and numbers.array.tolist() == [1, 3]


@given(rows=st.lists(st.integers(0, 60)))
def test_a_set_of_an_index_s_rows(rows: list[int]) -> None:
    assert DocumentNumbers(np.array(rows, np.int64)) == set(rows)
