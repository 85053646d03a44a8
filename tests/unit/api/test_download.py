"""Ranges and conditions of downloads, against a plain reading of RFC 9110."""

from __future__ import annotations

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from workers.api.download import is_unchanged, requested_range

TAG = '"abc"'


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw})


@given(size=st.integers(0, 50), first=st.integers(0, 60), last=st.integers(0, 60) | st.none())
def test_a_range_is_the_slice_that_it_names(size: int, first: int, last: int | None) -> None:
    content = bytes(range(size))
    part = requested_range(request(range=f"bytes={first}-{'' if last is None else last}"), TAG, size)
    if last is not None and last < first:
        assert part is None  # not valid: ignored
    else:
        assert part is not None
        assert content[part.start : part.stop] == content[first : None if last is None else last + 1]


@given(size=st.integers(0, 50), length=st.integers(0, 60))
def test_a_suffix_is_the_end(size: int, length: int) -> None:
    content = bytes(range(size))
    part = requested_range(request(range=f"bytes=-{length}"), TAG, size)
    assert part is not None
    assert content[part.start : part.stop] == (content[-length:] if length else b"")


@pytest.mark.parametrize("value", ["bytes=0-1,3-4", "lines=0-1", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "0-1"])
def test_what_is_not_one_range_is_ignored(value: str) -> None:
    assert requested_range(request(range=value), TAG, 10) is None


@given(value=st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_header_is_survived(value: str) -> None:
    headers = request(range=value, if_range=value, if_none_match=value)
    part = requested_range(headers, TAG, 10)
    assert part is None or set(part) <= set(range(10))
    assert isinstance(is_unchanged(headers, TAG), bool)


@pytest.mark.parametrize(("condition", "is_whole"), [(TAG, False), ('"other"', True), (f"W/{TAG}", True), ("", True)])
def test_if_range_needs_the_same_strong_tag(condition: str, is_whole: bool) -> None:
    part = requested_range(request(range="bytes=0-1", if_range=condition), TAG, 10)
    assert (part is None) == is_whole


@pytest.mark.parametrize(
    ("condition", "expected"),
    [(TAG, True), (f"W/{TAG}", True), (f'"x", {TAG}', True), ("*", True), ('"x"', False), ("", False), ("abc", False)],
)
def test_if_none_match_compares_weakly(condition: str, expected: bool) -> None:
    assert is_unchanged(request(if_none_match=condition), TAG) == expected
