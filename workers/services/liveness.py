"""Which roles live, what waits too long and what runs short: the reasons why an installation is not well."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.process_report import ProcessReport

#: What stands still without a role. One that is not required may be left out, but not go silent.
REQUIRED = {
    "ingest": "documents wait to be read",
    "writer": "new documents do not become searchable",
    "deliver": "nothing is filed or sent",
    "reclassify": "reclassification plans wait",
    "sweeper": "lost wake-ups are not repeated",
}
OPTIONAL = {"tray": "files that are dropped in stay there"}
ROLES = (*REQUIRED, *OPTIONAL)
#: Seconds that a document may wait for the index writer.
INDEX_SECONDS = 300.0
#: Free space below which there is a warning: bytes, and a share of the disk.
LOW_BYTES, LOW_SHARE = 2**30, 0.05


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role: "ok"; "silent" if its processes went without a last report; "absent" if there is none or all ended.

    ``last_sign_seconds`` since the last sign of life, None without one.
    """

    role: str
    state: str
    processes: int
    last_sign_seconds: float | None


def role_states(reports: Sequence[ProcessReport], now: float) -> list[RoleState]:
    """Return the state of every role."""
    states = []
    for role in ROLES:
        own = [report for report in reports if role in report.roles]
        alive = sum(report.is_alive(now) for report in own)
        newest = max(own, key=lambda report: report.at, default=None)
        state = "ok" if alive else "silent" if newest is not None and not newest.ended else "absent"
        states.append(RoleState(role, state, alive, None if newest is None else max(0.0, now - newest.at)))
    return states


def role_faults(states: Iterable[RoleState]) -> list[str]:
    """Return in words which roles are missing, and what stands still without them."""
    faults = []
    for state in states:
        if state.state == "silent" and state.last_sign_seconds is not None:
            consequence = (REQUIRED | OPTIONAL)[state.role]
            faults.append(f"{state.role} has given no sign of life for {state.last_sign_seconds:.0f} s: {consequence}")
        elif state.state == "absent" and state.role in REQUIRED:
            faults.append(f"no process serves {state.role}: {REQUIRED[state.role]}")
    return faults


def index_lag(backlog: Iterable[Mapping[str, Any]]) -> float:
    """Return the seconds that the oldest document has waited for the index writer; 0 if none waits."""
    due = [row["due"] for row in backlog if row["queue"] == "index" and row["state"] != "dead"]
    return max(0.0, time.time() - min(due)) if due else 0.0


def dead_deliveries(backlog: Iterable[Mapping[str, Any]]) -> int:
    """Return how many deliveries were given up."""
    return sum(row["count"] for row in backlog if row["stage"] == "deliver" and row["state"] == "dead")


def queue_faults(backlog: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return in words what waits longer than it should."""
    lag = index_lag(backlog)
    return [f"documents have waited {lag:.0f} s for the index writer"] if lag > INDEX_SECONDS else []


def shortages(backlog: Sequence[Mapping[str, Any]], home: Path) -> list[str]:
    """Return in words what needs an operator but stops nothing yet: dead deliveries, little free space."""
    warnings = []
    if dead := dead_deliveries(backlog):
        warnings.append(f"deliveries given up: {dead}; see `mailroom deliveries list`")
    with contextlib.suppress(OSError):
        disk = shutil.disk_usage(home)
        if disk.free < LOW_BYTES or disk.free < disk.total * LOW_SHARE:
            warnings.append(f"{disk.free / 2**30:.1f} GiB are free on the disk of the data folder")
    return warnings
