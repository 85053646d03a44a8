"""The evaluation of a soak run finds every kind of fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.chunks import Chunks
from tests.benchmarks.soak import WRONG, judged

#: Document 1 was there and was deleted at 5, with the second generation; 3 came at 2.
NOTES: list[dict[str, Any]] = [
    {"kind": "published", "generation": "a", "held": [[1, 2]], "segments": [["s", "exact"]]},
    {"kind": "published", "generation": "b", "held": [[2, 3]], "segments": [["t", "exact"]]},
    {"kind": "added", "number": 3, "at": 2.0},
    {"kind": "deleted", "number": 1, "at": 5.0},
    {"kind": "asked", "began": 1.0, "ended": 3.0, "found": [1, 2, 3], "wrong_texts": [], "stale": False},
    {"kind": "itself", "generation": "a", "number": 1, "found": [1, 2]},
    {"kind": "itself", "generation": "b", "number": 1, "found": [2, 3]},
    {"kind": "memory", "kib": 1024},
    {"kind": "memory", "kib": 2048},
]


def figures(folder: Path, *changed: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the log in `NOTES`, followed by the ``changed`` entries."""
    (folder / "all.jsonl").write_text("".join(json.dumps(note) + "\n" for note in (*NOTES, *changed)))
    return judged(folder, Chunks(20), ["all"])


def test_a_soak_in_which_all_went_well(tmp_path: Path) -> None:
    counts = figures(tmp_path)
    assert {counts.get(wrong, 0) for wrong in WRONG} == {0}
    assert (counts["added"], counts["deleted"], counts["publications"], counts["merges"]) == (1, 1, 2, 1)


@pytest.mark.parametrize(
    ("wrong", "note"),
    [
        ("deleted_shown", {**NOTES[4], "began": 5.1, "ended": 6.0}),
        ("wrong_ids", {**NOTES[4], "began": 0.0, "ended": 1.0}),
        ("wrong_ids", {**NOTES[4], "found": [9]}),
        ("wrong_ids", {**NOTES[6], "found": [1]}),
        ("wrong_texts", {**NOTES[4], "wrong_texts": [7]}),
        ("stale_answers", {**NOTES[4], "stale": True}),
        ("not_found", {**NOTES[5], "found": [2, 1]}),
        ("errors", {"kind": "error", "error": "OSError: no"}),
        ("index_differs", {**NOTES[1], "held": [[2, 2]]}),
    ],
)
def test_each_fault_is_counted(tmp_path: Path, wrong: str, note: dict[str, Any]) -> None:
    assert figures(tmp_path, note)[wrong] == 1
