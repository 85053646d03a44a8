"""Measures of a search: against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from pipeline.errors import Refused
from pipeline.evaluate import evaluate, from_feedback, percentile, read_judgements, read_queries
from pipeline.questions import Feedback


def test_measures_are_those_of_the_textbook() -> None:
    evaluation = evaluate({"1": {"a": 2, "b": 1, "c": 0}}, {"1": ["c", "b", "a"]})
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert evaluation.mean["nDCG@10"] == pytest.approx((1 / math.log2(3) + 2 / math.log2(4)) / ideal)
    assert evaluation.mean["MRR"] == pytest.approx(1 / 2)
    assert evaluation.mean["recall@100"] == 1.0


def test_a_query_without_hits_counts_as_nothing_and_is_the_worst() -> None:
    evaluation = evaluate({"1": {"a": 1}, "2": {"b": 1}}, {"1": ["a"], "2": []})
    assert evaluation.mean["nDCG@10"] == pytest.approx(0.5)
    assert evaluation.worst(1) == ["2"]


def test_what_is_not_judged_or_not_run_is_not_measured() -> None:
    assert set(evaluate({"1": {"a": 1}, "2": {"b": 1}}, {"1": ["a"], "3": ["a"]}).queries) == {"1"}
    with pytest.raises(Refused):
        evaluate({"1": {"a": 1}}, {"2": ["a"]})


def test_files_are_read_as_trec_writes_them() -> None:
    assert read_queries(["7\tnotice period\r\n", "\n", "8 \t a\tb \n"]) == {"7": "notice period", "8": "a\tb"}
    lines = ["7 0 d1 2\n", "7\t0\tletters/my letter.txt\t1\n", "8 Q0 d2 -1\n", "8 0 a file.txt 0"]
    assert read_judgements(lines) == {"7": {"d1": 2, "letters/my letter.txt": 1}, "8": {"d2": -1, "a file.txt": 0}}


@pytest.mark.parametrize("line", ["no tab", "\ttext", "7\t ", "7\tfirst\n7\tsecond"])
def test_a_bad_line_of_queries_is_named(line: str) -> None:
    with pytest.raises(Refused, match=r"Line [12] of the queries"):
        read_queries(line.split("\n"))


@pytest.mark.parametrize("line", ["1 0 d", "1 0 d x", "1", "1 0  2", "7 0 d1 +-5", "7 0 d1 99999999999999"])
def test_a_bad_line_of_judgements_is_named(line: str) -> None:
    with pytest.raises(Refused, match="Line 1 of the judgements"):
        read_judgements([line])


def test_a_document_has_one_gain_for_a_query() -> None:
    assert read_judgements(["7 0 d1 2", "7 0 d1 2"]) == {"7": {"d1": 2}}
    with pytest.raises(Refused, match=r"Line 2 .* another gain"):
        read_judgements(["7 0 d1 2", "7 0 d1 1"])


def test_votes_outweigh_clicks_and_a_tie_says_nothing() -> None:
    def vote(query: str, document: str, kind: str) -> Feedback:
        return Feedback(query, document, kind, 0.0)

    feedback = [vote("Lease", "a", "useful"), vote("lease ", "a", "click"), vote("lease", "b", "click")]
    feedback += [vote("lease", "c", "not-useful"), vote("lease", "c", "click")]
    feedback += [vote("lease", "d", "useful"), vote("lease", "d", "not-useful"), vote("only ties", "d", "useful")]
    feedback += [vote("only ties", "d", "not-useful")]
    assert from_feedback(feedback) == ({"1": "Lease"}, {"1": {"a": 2, "b": 1, "c": 0}})


def test_percentiles() -> None:
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]
