"""What the records officer reads first of a fine-tune, and that the page is one that a version may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.contents import check_content
from models.recipes.finetune import report


def report_of(own: float, svm: float, served: str = "int8", best_epoch: int = 2) -> dict:
    metrics = {"texts": 200, "accuracy": own, "macro_f1": own, "ece": 0.02, "precision_of_sure": None}
    wrong = {"labels": ["a <b>"], "predicted": "c", "probability": 0.99}
    return {
        "title": "letters@1",
        "date": "2026-11-25",
        "command": "mailroom train --labels l.csv",
        "warnings": ["Two texts <disagree>."],
        "metrics": metrics,
        "parts": {"bag of words alone": {"accuracy": 0.5, "macro_f1": 0.5}},
        "baselines": {"tfidf_svm": {"accuracy": svm, "seconds": 1.0}, "minilm_lr": {"accuracy": 0.4, "seconds": 2.0}},
        "classes": [{"label": label, "precision": 1.0, "support": 100, "threshold": 0.9} for label in ("a <b>", "c")],
        "confusion": [[90, 10], [0, 100]],
        "reliability": [{"confidence": 0.9, "accuracy": 0.95, "texts": 200}],
        "mistakes": [{"identity": f"line {n}", **wrong} for n in range(20)],
        "curve": [{"number": n, "accuracy": 0.8 + n / 100} for n in range(3)],
        "training": {"seconds": 9.0, "best_epoch": best_epoch, "training_kept": 0.75, "projection": False, "rate": 0.1},
        "data": {"train": 700, "dropped": 3},
        "export": {kind: {"difference": 0.1, "same": 0.99, "texts": 200} for kind in ("full", "int8")}
        | {"served": served},
    }


def test_a_winning_baseline_comes_first() -> None:
    page = report.html(report_of(0.9, 0.95))
    assert page.index("A baseline wins: TF-IDF + linear SVM classifies 95.0%") < page.index("<h2>")
    assert "the better baseline (TF-IDF + linear SVM) 89.0%" in report.summary(report_of(0.9, 0.89))
    assert "as many as the better baseline" in report.summary(report_of(0.9, 0.9))


def test_the_page_is_whole_and_holds_nothing_that_runs(tmp_path: Path) -> None:
    report.write(report_of(0.9, 0.8), tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    check_content(tmp_path / "report.html")
    assert page.count("<svg") == 3 and page.count("<td>line ") == 20
    for text in (
        "of 2 labels: 190 of 200 texts on the diagonal",
        "0.90 predicted, 0.95 right (200 texts)",
        "0.800, 0.810",
    ):
        assert text in page  # a chart's content is there for people who cannot see it
    assert "Two texts &lt;disagree&gt;." in page and "a <b>" not in page
    for text in ("MiniLM embeddings + logistic regression", "l.csv", "<th>dropped</th><td>3</td>", "that of epoch 2"):
        assert text in page


def test_a_label_too_long_for_the_picture_is_cut_there_alone() -> None:
    long = "x" * 200
    changed = report_of(0.9, 0.8)
    changed["classes"][1]["label"] = long
    page = report.html(changed)
    assert f">{long}</td>" in page and f"{'x' * 23}…</text>" in page and page.count(long) == 1


@pytest.mark.parametrize(
    ("served", "text"), [("int8", "Served: <b>int8</b>.</p>"), ("full", "Served: <b>float32</b>. The 8-bit")]
)
def test_the_report_states_which_file_serves_and_why(served: str, text: str) -> None:
    page = report.html(report_of(0.9, 0.8, served, best_epoch=0))
    assert text in page and "the base as it was" in page


def test_the_report_states_that_an_untrained_base_was_projected() -> None:
    changed = report_of(0.9, 0.8)
    changed["training"] |= {"best_epoch": 0, "training_kept": 0.0, "projection": True}
    assert "the base as it was, under a projection" in report.html(changed)
