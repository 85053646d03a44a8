"""Benchmark results: each figure is stored with the run that measured it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import record
from tests.benchmarks.tables import render_block


def test_a_partial_run_says_which_figures_are_its_own_and_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr("tests.benchmarks.tables.RESULTS", tmp_path)
    first = {"scifact": {"bm25": 0.8, "hybrid": 0.9}, "cacm": {"bm25": 0.4, "hybrid": 0.5}}
    file = record.record_part("search", "collections", first, "all of it", 1, "data")
    before = json.loads(file.read_text())["runs"]["collections"]

    def add(command: str, **figures: dict[str, float]) -> dict:
        order = ("bm25", "hybrid", "haystack")
        return json.loads(record.record_figures("search", "collections", figures, order, command, 1, "").read_text())

    add("one", scifact={"haystack": 0.7, "hybrid": 0.91})
    added = add("one", cacm={"haystack": 0.6})
    assert added["collections"] == {
        "scifact": {"bm25": 0.8, "hybrid": 0.91, "haystack": 0.7},
        "cacm": {"bm25": 0.4, "hybrid": 0.5, "haystack": 0.6},
    }
    run = added["runs"]["collections"]
    assert {name: run[name] for name in before} == before
    (later,) = run["later"]
    assert later["figures"] == {"scifact": ["haystack", "hybrid"], "cacm": ["haystack"]}
    again = add("two", scifact={"haystack": 0.71, "hybrid": 0.92})["runs"]["collections"]["later"]
    assert [(run["command"], run["figures"]) for run in again] == [
        ("one", {"cacm": ["haystack"]}),
        ("two", {"scifact": ["haystack", "hybrid"]}),
    ]
    assert "Of another run (haystack of cacm): `one`" in render_block("search_collections")
    whole = add("three", scifact=dict.fromkeys(("bm25", "hybrid", "haystack"), 1.0), cacm={"haystack": 1.0})
    assert whole["runs"]["collections"]["command"] == "all of it"
    run = add("rest", cacm={"bm25": 0.41, "hybrid": 0.51})["runs"]["collections"]
    assert (run["command"], [later["command"] for later in run["later"]]) == ("rest", ["three"])
    run = add("rest", scifact={"bm25": 0.81})["runs"]["collections"]
    assert [later["figures"]["scifact"] for later in run["later"]] == [["hybrid", "haystack"]]
    table = {row: dict.fromkeys(("bm25", "hybrid", "haystack"), 1.0) for row in ("scifact", "cacm")}
    run = add("four", **table)["runs"]["collections"]
    assert (run["command"], "later" in run) == ("four", False)
