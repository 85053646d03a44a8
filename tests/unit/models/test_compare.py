"""Metrics of a classifier, the difference of two, and lists of labelled texts that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.compare import calibration_error, compare, mcnemar, measure, worse
from models.labelled import LabelledText, TextReaders, read_labelled
from pipeline.documents import Prediction
from pipeline.errors import MailroomError, Refused


def document(name: str) -> str:
    if name == "nobody":
        raise Refused("not-found", "Document nobody is not there, or has no text.")
    return f"text of {name}"


READERS = TextReaders(Path.read_text, document)


def prediction(label: str, probability: float = 0.9, threshold: float = 0.8) -> Prediction:
    return Prediction(label, probability, "z", 0.05, threshold, "m@1", "d")


def texts(*labels: str) -> list[LabelledText]:
    return [LabelledText(f"line {n}", "", tuple(label.split("+"))) for n, label in enumerate(labels)]


def test_metrics_by_hand() -> None:
    """Four texts: a predicted as a, a as b, b as b, and b as b below the threshold."""
    metrics = measure(
        texts("a", "a", "b", "b"), [prediction("a"), prediction("b"), prediction("b"), prediction("b", 0.5)]
    )
    assert (metrics.accuracy, metrics.coverage) == (0.75, 0.75)
    assert metrics.confident_accuracy == pytest.approx(2 / 3)
    a, b = metrics.classes["a"], metrics.classes["b"]
    assert (a.precision, a.recall, a.support) == (1.0, 0.5, 2)
    assert (b.precision, b.recall) == (pytest.approx(2 / 3), 1.0)
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 0.8) / 2)


def test_a_text_with_two_labels_is_right_by_either() -> None:
    metrics = measure(texts("a+b", "b"), [prediction("a"), prediction("b")])
    assert metrics.accuracy == metrics.macro_f1 == 1.0


def test_calibration_error_of_an_overconfident_classifier() -> None:
    assert calibration_error(np.array([0.95] * 10), np.array([True] * 5 + [False] * 5)) == pytest.approx(0.45)


@pytest.mark.parametrize(("gained", "lost", "expected"), [(0, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (3, 3, 1.0)])
def test_mcnemar_s_exact_values(gained: int, lost: int, expected: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(expected)


def test_mcnemar_of_thousands_is_a_number() -> None:
    assert 0 <= mcnemar(30_000, 29_000) < 0.001


def test_the_difference_of_two() -> None:
    labelled = texts(*["a"] * 90, *["b"] * 10)
    one = [prediction("a")] * 100
    two = [prediction("b")] * 2 + [prediction("a")] * 88 + [prediction("b")] * 10
    comparison = compare(labelled, one, two)
    assert (comparison.gained, comparison.lost, len(comparison.flips)) == (10, 2, 12)
    assert comparison.flips[0].place == "line 0" and (comparison.flips[0].before, comparison.flips[0].after) == (
        "a",
        "b",
    )
    low, high = comparison.interval
    assert low < 0.08 < high and comparison == compare(labelled, one, two)
    assert worse(comparison.before, comparison.after, 0.0) == []
    assert worse(comparison.after, comparison.before, 0.0) == [
        "accuracy 0.9000 instead of 0.9800",
        "macro F1 0.4737 instead of 0.9489",
    ]
    assert worse(comparison.after, comparison.before, 0.5) == []


def test_lists_are_read(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a file's text")
    (tmp_path / "a.csv").write_bytes("\ufeffPath,Label,note\none.txt,invoice,x\n".encode())
    assert read_labelled(tmp_path / "a.csv", READERS)[0] == (LabelledText("one.txt", "a file's text", ("invoice",)),)
    (tmp_path / "b.jsonl").write_text('{"document": "d1", "label": "x"}\n\n{"text": "t", "labels": ["x", "y"]}\n')
    rows = read_labelled(tmp_path / "b.jsonl", READERS)[0]
    assert rows == (LabelledText("d1", "text of d1", ("x",), document=True), LabelledText("line 3", "t", ("x", "y")))


def test_several_labels_of_one_text_stand_in_one_cell(tmp_path: Path) -> None:
    many = [f"{n} {'x' * 100}" for n in range(3)]
    (tmp_path / "a.csv").write_text(f"text,label\nt,{'; '.join(many)};{many[0]};\n")
    assert read_labelled(tmp_path / "a.csv", READERS)[0] == (LabelledText("line 2", "t", tuple(many)),)


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_spreadsheets_save_is_read(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = f'text{separator}label\n"so; or so,\tor\nso"{separator}straße\n'
    (tmp_path / "a.csv").write_bytes(rows.replace("\n", "\r\n").encode(encoding))
    assert read_labelled(tmp_path / "a.csv", READERS)[0] == (
        LabelledText("line 3", "so; or so,\tor\r\nso", ("straße",)),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "header"),
        ("rowless.csv", b"text,label\n", "no labelled row"),
        ("header.csv", b"words,class\nx,y\n", "header"),
        ("both.csv", b"text,path,label\nx,y,z\n", "header"),
        ("short.csv", b"text,label\nonly one\n", "line 2"),
        ("long.csv", b"text,label\na,b,c\n", "line 2"),
        ("quote.csv", b'text,label\n"never closed,x\n', "unexpected end"),
        ("latin.csv", "text,label\nb\nstraße,x\n".encode("latin-1"), "line 3: not UTF-8"),
        ("half.csv", "text,label\nx,y\n".encode("utf-16")[:-1], "not UTF-16"),
        ("unknown.csv", b"document,label\nd1,x\nnobody,x\n", "line 3: Document nobody is not there"),
        ("label.csv", b"text,label\nx," + b"l" * 10_000 + b"\n", "line 2: a label is"),
        ("control.csv", b"text,label\nx,a\x1b[31m\n", "line 2: a label is"),
        ("blank.csv", b"text,label\n ,x\n", "line 2: there is no text"),
        ("gone.csv", b"path,label\nnowhere.txt,x\n", "line 2: there is no file"),
        ("bad.jsonl", b'{"text": "x", "label": "y"}\n{', "line 2: not JSON"),
        ("deep.jsonl", b"[" * 100_000, "line 1: not JSON"),
        ("list.jsonl", b'["x", "y"]\n', "line 1: an object"),
        ("number.jsonl", b'{"text": "x", "label": 3}\n', "line 1: a label is"),
    ],
)
def test_a_list_that_cannot_be_used_says_where(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=message) as caught:
        read_labelled(tmp_path / name, READERS)
    assert len(str(caught.value)) < 600


def test_a_million_rows_are_refused_in_bounded_time(tmp_path: Path) -> None:
    (tmp_path / "many.csv").write_text("text,label\n" + "some words,invoice\n" * 1_000_000)
    with pytest.raises(Refused, match="200,000 rows"):
        read_labelled(tmp_path / "many.csv", READERS)


def test_a_mistake_in_the_last_row_is_reported_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "list.csv").write_text("path,label\n" + "a.txt,x\n" * 20 + "a.txt,\n")
    with pytest.raises(Refused, match="line 22: a label is"):
        read_labelled(tmp_path / "list.csv", TextReaders(pytest.fail, pytest.fail))


def test_a_missing_list_is_reported(tmp_path: Path) -> None:
    with pytest.raises(MailroomError, match="no file"):
        read_labelled(tmp_path / "nothing.csv", READERS)
