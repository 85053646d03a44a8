"""How long the stages of this process took, and why they failed: counters that only grow, read by its report."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Any

#: Upper bounds of the histogram's buckets, seconds; the last bucket has none.
BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0)


class Timings:
    """Histograms of seconds by stage, and failures by stage and code. Thread-safe."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start from nothing, as a forked process does."""
        self._lock = threading.Lock()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS) + 1))
        self._sums: Counter[str] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()

    def observe(self, stage: str, seconds: float) -> None:
        """Count one run of a stage."""
        with self._lock:
            self._buckets[stage][bisect_left(BOUNDS, seconds)] += 1
            self._sums[stage] += seconds  # type: ignore[assignment]  # typeshed has a Counter of int only

    def fail(self, stage: str, code: str) -> None:
        """Count a failure of a stage by the code of its error."""
        with self._lock:
            self._failures[stage, code] += 1

    def as_json(self) -> dict[str, Any]:
        """Return {"stages": {stage: {"buckets": [...], "sum": seconds}}, "failures": [[stage, code, count], ...]}."""
        with self._lock:
            stages = {stage: {"buckets": list(row), "sum": self._sums[stage]} for stage, row in self._buckets.items()}
            failures = [[stage, code, count] for (stage, code), count in self._failures.items()]
        return {"stages": stages, "failures": failures}


#: Those of this process.
TIMINGS = Timings()
os.register_at_fork(after_in_child=TIMINGS.clear)
