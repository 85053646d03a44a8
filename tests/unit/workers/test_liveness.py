"""Reports of processes: who lives, what all of them counted, and what is said of a role that went silent."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

from pipeline.timings import BOUNDS, TIMINGS, Timings
from workers.process_report import (
    FOLDER,
    FORGET_SECONDS,
    SILENT_SECONDS,
    ProcessReport,
    Reporter,
    compact,
    read_reports,
    totals,
)
from workers.services.liveness import REQUIRED, dead_deliveries, index_lag, queue_faults, role_faults, role_states

NOW = 1_000_000.0


def report(*roles: str, age: float = 0.0, ended: bool = False) -> ProcessReport:
    return ProcessReport(roles, NOW - age, ended, 1.0, {}, [])


def test_a_role_without_a_process_is_named_with_what_stands_still() -> None:
    faults = role_faults(role_states([], NOW))
    assert len(faults) == len(REQUIRED)
    assert any("ingest" in fault and "documents wait to be read" in fault for fault in faults)
    everyone = [report("ingest"), report("writer"), report("deliver", "reclassify"), report("sweeper")]
    assert role_faults(role_states(everyone, NOW)) == []


def test_silent_is_not_ended() -> None:
    old = SILENT_SECONDS + 51
    others = [report("ingest"), report("writer"), report("deliver", "reclassify"), report("sweeper")]
    (fault,) = role_faults(role_states([*others, report("tray", age=old)], NOW))
    assert fault.startswith("tray has given no sign of life for 71 s")
    assert role_faults(role_states([*others, report("tray", age=old, ended=True)], NOW)) == []
    assert role_faults(role_states([*others, report("tray", age=old), report("tray")], NOW)) == []


def test_a_process_reports_until_it_ends(tmp_path: Path) -> None:
    TIMINGS.observe("a-stage", 0.3)
    TIMINGS.fail("a-stage", "damaged")
    with Reporter(tmp_path, ("writer",)):
        (alive,) = read_reports(tmp_path)
        assert alive.is_alive(time.time())
        assert ("a-stage", "damaged", 1) in alive.failures
        assert alive.stages["a-stage"]["buckets"][BOUNDS.index(0.5)] == 1
        assert alive.processor_seconds > 0
    (ended,) = read_reports(tmp_path)
    assert not ended.is_alive(time.time())


def test_adding_ended_reports_up_changes_no_total(tmp_path: Path) -> None:
    random.seed(15)
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number in range(60):
        timings = Timings()
        for _ in range(random.randrange(20)):
            timings.observe(random.choice("abc"), random.uniform(0, 700))
            timings.fail(random.choice("abc"), random.choice(["damaged", "memory"]))
        at = time.time() - random.choice([0, FORGET_SECONDS + 1, 3 * FORGET_SECONDS])
        roles = random.choice([["ingest"], ["deliver", "reclassify"]])
        values = {"roles": roles, "at": at, "ended": number % 3 == 0, "processor_seconds": 1, **timings.as_json()}
        (folder / f"host-{number}-1.json").write_text(
            json.dumps({**values, "processor_seconds": 1, **timings.as_json()})
        )
    before = totals(read_reports(tmp_path))
    compact(folder)
    compact(folder)
    after = totals(read_reports(tmp_path))
    assert len(list(folder.glob("host-*"))) < 40
    assert (dict(after.buckets), after.failures) == (dict(before.buckets), before.failures)
    assert dict(after.processor) == dict(before.processor)
    assert all(abs(after.sums[stage] - before.sums[stage]) < 1e-6 for stage in before.sums)


def test_rubbish_among_the_reports_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for number, text in enumerate(["", "{", "[]", "null", '{"roles": 3}', "\x00"]):
        (folder / f"host-{number}-1.json").write_text(text)
    (folder / "host-9-1.json").write_bytes(os.urandom(50))
    assert read_reports(tmp_path) == []
    compact(folder)


def test_a_forked_process_counts_from_nothing() -> None:
    TIMINGS.observe("forked", 1.0)
    child = os.fork()
    if child == 0:
        os._exit(0 if TIMINGS.as_json()["stages"] == {} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_what_waits() -> None:
    row = {"stage": "index", "count": 2, "oldest": 0.0}
    backlog = [
        {**row, "queue": "index", "state": "waiting", "due": time.time() - 400},
        {**row, "queue": "deliver", "stage": "deliver", "state": "dead", "due": 0.0},
        {**row, "queue": "ingest", "state": "waiting", "due": 0.0},
    ]
    assert 399 < index_lag(backlog) < 410
    assert dead_deliveries(backlog) == 2
    assert "have waited 40" in queue_faults(backlog)[0]
    assert queue_faults(backlog[1:]) == []
