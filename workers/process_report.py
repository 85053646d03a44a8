"""Each process reports every few seconds that it lives and what it did, in a file of `run/reports`.

Files, and not rows of the catalogue: they are there when the catalogue is not, and a sign of life costs no commit. On
several machines `data.path` is shared, and so are the reports; the machines' clocks may differ by a few seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.timings import BOUNDS, TIMINGS

REPORT_SECONDS = 3.0
#: Seconds without a report after which a process counts as silent.
SILENT_SECONDS = 20.0
#: Seconds after which the report of a process that is gone is added to `ENDED`.
FORGET_SECONDS = 3600.0
ENDED = "ended.json"
FOLDER = "reports"


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """What one process reported last. Times are epoch seconds; ``ended`` is True if it stopped by itself."""

    roles: tuple[str, ...]
    at: float
    ended: bool
    processor_seconds: float
    stages: Mapping[str, Mapping[str, Any]]
    failures: Sequence[tuple[str, str, int]]

    def is_alive(self, now: float) -> bool:
        """Return True if the process has reported lately and has not ended."""
        return not self.ended and now - self.at < SILENT_SECONDS


class Reporter:
    """Writes the report of this process from a thread, until `stop`.

    Args:
        roles: what this process serves.
        children: whether the processor time of its children is its own. Celery's children report by themselves.
        compact: also add the reports of ended processes up; for the role of which there is one.
    """

    def __init__(self, run_path: Path, roles: Sequence[str], children: bool = True, compact: bool = False) -> None:
        self._roles, self._children, self._compact = list(roles), children, compact
        self._started_at = time.time()
        name = f"{socket.gethostname()}-{os.getpid()}-{self._started_at:.0f}.json"
        self._path = run_path / FOLDER / name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="report")

    def start(self) -> Reporter:
        """Write the first report, and begin the thread."""
        self._write(ended=False)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Write the last report, which says that the process ended by itself."""
        self._stopping.set()
        self._write(ended=True)

    def __enter__(self) -> Reporter:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping.wait(REPORT_SECONDS):
            self._write(ended=False)
            if self._compact:
                with contextlib.suppress(OSError):  # a full disk; the reports stay for the next time
                    compact(self._path.parent)

    def _write(self, ended: bool) -> None:
        report = {
            "roles": self._roles,
            "at": time.time(),
            "ended": ended,
            "processor_seconds": processor_seconds(self._children),
            **TIMINGS.as_json(),
        }
        with contextlib.suppress(OSError):  # a full disk is reported by whoever stores documents
            _replace(self._path, report)


def processor_seconds(children: bool) -> float:
    """Return the processor time of this process, with that of its ended children or without."""
    usages = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if children else [])]
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, usages))


def read_reports(run_path: Path) -> list[ProcessReport]:
    """Return the reports of all processes, those added up in `ENDED` included."""
    reports = []
    for path in (run_path / FOLDER).glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # gone, or of another version
            reports.append(_read(path))
    return reports


def _read(path: Path) -> ProcessReport:
    report = json.loads(path.read_text())
    failures = [(stage, code, count) for stage, code, count in report["failures"]]
    seconds = float(report["processor_seconds"])
    return ProcessReport(tuple(report["roles"]), report["at"], report["ended"], seconds, report["stages"], failures)


@dataclass(slots=True)
class Totals:
    """What all reports together count: histograms and failures by stage, processor seconds by role."""

    buckets: dict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * (len(BOUNDS) + 1)))
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    processor: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, report: ProcessReport) -> None:
        """Add what one process counted."""
        for stage, histogram in report.stages.items():
            pairs = zip(self.buckets[stage], histogram["buckets"], strict=False)
            self.buckets[stage] = [total + count for total, count in pairs]
            self.sums[stage] += histogram["sum"]
        for stage, code, count in report.failures:
            self.failures[stage, code] += count
        self.processor[",".join(report.roles)] += report.processor_seconds


def totals(reports: Iterable[ProcessReport]) -> Totals:
    """Return the sum of the reports."""
    result = Totals()
    for report in reports:
        result.add(report)
    return result


def compact(folder: Path) -> None:
    """Add the reports of processes that are gone to one file for each set of roles, and remove them.

    The newest report of a role stays until another one replaces it, so that a role that went silent stays known.
    """
    newest: dict[tuple[str, ...], float] = {}
    reports: dict[Path, ProcessReport] = {}
    for path in folder.glob("*-*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            reports[path] = report = _read(path)
            newest[report.roles] = max(newest.get(report.roles, 0.0), report.at)
    limit = time.time() - FORGET_SECONDS
    for path, report in reports.items():
        if report.at < limit and report.at < newest[report.roles]:
            place = folder / f"{'+'.join(report.roles)}.{ENDED}"
            earlier = [_read(place)] if place.exists() else []
            _replace(place, _as_json(report, totals([*earlier, report])))
            path.unlink(missing_ok=True)


def _as_json(report: ProcessReport, total: Totals) -> dict[str, Any]:
    return {
        "roles": report.roles,
        "at": report.at,
        "ended": True,
        "processor_seconds": sum(total.processor.values()),
        "stages": {stage: {"buckets": row, "sum": total.sums[stage]} for stage, row in total.buckets.items()},
        "failures": [[stage, code, count] for (stage, code), count in total.failures.items()],
    }


def _replace(path: Path, report: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}")
    temporary.write_text(json.dumps(report))
    temporary.replace(path)
