"""The demo's table is legible in a terminal of 80 columns, and says once why something was not filed."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from workers.demo import show
from workers.demo.samples_manifest import Sample, load_manifest

PASSWORD = "The PDF is protected by a password; remove it and send the file again."


def outcome(sample: Sample) -> show.SampleOutcome:
    """Return the outcome that the manifest expects, as the API would report it."""
    state = sample.states[0]
    reason = None if state == "indexed" else sample.reason or "low-confidence"
    detail = PASSWORD if reason == "encrypted" else f"{reason}: a sentence of its own about the document"
    document = {"state": state, "reason": reason, "detail": detail if reason else None, "pages": 12, "passages": 34}
    document |= {"label": sample.kinds[0] if sample.kinds else None, "probability": 0.98 if sample.kinds else None}
    document |= {"received_at": "2026-03-02T09:00:00+00:00", "finished_at": "2026-03-02T09:00:12+00:00"}
    return show.SampleOutcome(sample, document, [f"{document['label']}/2026/name.pdf"] if state == "indexed" else [])


@pytest.fixture(params=[80, 120])
def lines(request: pytest.FixtureRequest) -> list[str]:
    console = Console(width=request.param, file=io.StringIO(), highlight=False)
    show.table(console, [outcome(sample) for sample in load_manifest().samples])
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= request.param
    return lines


def test_nothing_is_cut(lines: list[str]) -> None:
    assert not [line for line in lines if "…" in line]
    names = "".join(line.split("  ")[0].strip() for line in lines)
    for sample in load_manifest().samples:
        assert sample.path.rpartition("/")[2] in names
        assert not sample.kinds or any(f" {sample.kinds[0]} " in line for line in lines)


def test_a_row_has_two_lines_at_most(lines: list[str]) -> None:
    table = lines[: lines.index("")] if "" in lines else lines
    rows, folders = len(load_manifest().samples), sum(line.rstrip().endswith("/") for line in table)
    assert len(table) <= 1 + folders + 2 * rows


def test_a_reason_stands_below_the_table_once(lines: list[str]) -> None:
    text = " ".join(" ".join(lines).split())
    reasons = {outcome(sample).reason for sample in load_manifest().samples} - {""}
    assert PASSWORD in reasons
    assert {reason: text.count(reason) for reason in reasons} == dict.fromkeys(reasons, 1)


def test_what_is_not_as_expected_is_named() -> None:
    console = Console(width=80, file=io.StringIO())
    show.table(console, [show.SampleOutcome(load_manifest().samples[0], None, ())])
    assert isinstance(console.file, io.StringIO)
    assert "not received" in console.file.getvalue()
    assert f"Not as expected: {load_manifest().samples[0].path}" in console.file.getvalue()
