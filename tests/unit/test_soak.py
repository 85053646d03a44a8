"""The evaluation of a soak run finds every kind of fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.chunks import Chunks
from tests.benchmarks.soak import FAULTS, evaluated

#: Document 1 was deleted at 5, before the second generation; document 3 was added at 2.
LOG: list[dict[str, Any]] = [
    {"kind": "published", "generation": "a", "members": [[1, 2]], "segments": [["s", "exact"]]},
    {"kind": "published", "generation": "b", "members": [[2, 3]], "segments": [["t", "exact"]]},
    {"kind": "added", "number": 3, "at": 2.0},
    {"kind": "deleted", "number": 1, "at": 5.0},
    {"kind": "search", "began": 1.0, "ended": 3.0, "hits": [1, 2, 3], "wrong_texts": [], "stale": False},
    {"kind": "itself", "generation": "a", "number": 1, "hits": [1, 2]},
    {"kind": "itself", "generation": "b", "number": 1, "hits": [2, 3]},
    {"kind": "memory", "kib": 1024},
    {"kind": "memory", "kib": 2048},
]


def figures(folder: Path, *changed: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the log in `LOG`, followed by the ``changed`` entries."""
    (folder / "all.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in (*LOG, *changed)))
    return evaluated(folder, Chunks(20), ["all"])


def test_a_soak_in_which_all_went_well(tmp_path: Path) -> None:
    counts = figures(tmp_path)
    assert {counts.get(fault, 0) for fault in FAULTS} == {0}
    assert (counts["added"], counts["deleted"], counts["publications"], counts["merges"]) == (1, 1, 2, 1)


@pytest.mark.parametrize(
    ("fault", "entry"),
    [
        ("deleted_shown", {**LOG[4], "began": 5.1, "ended": 6.0}),
        ("wrong_ids", {**LOG[4], "began": 0.0, "ended": 1.0}),
        ("wrong_ids", {**LOG[4], "hits": [9]}),
        ("wrong_ids", {**LOG[6], "hits": [1]}),
        ("wrong_texts", {**LOG[4], "wrong_texts": [7]}),
        ("stale_answers", {**LOG[4], "stale": True}),
        ("not_found", {**LOG[5], "hits": [2, 1]}),
        ("errors", {"kind": "error", "error": "OSError: no"}),
        ("index_differs", {**LOG[1], "members": [[2, 2]]}),
    ],
)
def test_each_fault_is_counted(tmp_path: Path, fault: str, entry: dict[str, Any]) -> None:
    assert figures(tmp_path, entry)[fault] == 1
