"""Metrics for Prometheus. What the catalogue knows is read at the moment of the scrape, never counted twice."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.documents import State
from pipeline.timings import BOUNDS
from workers.assemble import Mailroom
from workers.process_report import Totals, read_reports, totals
from workers.queue.notify import Notifier
from workers.services.liveness import dead_deliveries, index_lag, role_states

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Requests:
    """Counts requests by method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("method", "route")
        self._total = Counter("mailroom_requests", "Requests answered", (*names, "status"), registry=registry)
        self._seconds = Histogram(
            "mailroom_request_seconds", "Seconds per request", names, buckets=_BUCKETS, registry=registry
        )
        self._bytes = Counter("mailroom_upload_bytes", "Bytes of stored uploads", registry=registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the template, ``seconds`` the time until the end of the response."""
        method = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
        self._total.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def uploaded(self, size: int) -> None:
        """Count an upload of ``size`` bytes."""
        self._bytes.inc(size)


class MailroomCollector(Collector):
    """Reads documents by state, jobs by queue, the broker and the index, as they are now."""

    def __init__(self, mailroom: Mailroom, notifier: Notifier) -> None:
        self._mailroom, self._notifier = mailroom, notifier

    def describe(self) -> list[Metric]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of a scrape."""
        counts = self._mailroom.catalogue.documents.counts()
        documents = GaugeMetricFamily("mailroom_documents", "Documents by state", labels=("state",))
        for state in State:
            documents.add_metric((str(state),), counts.get(state, 0))
        yield documents
        labels = ("queue", "stage", "state")
        number = GaugeMetricFamily("mailroom_jobs", "Jobs in the job store", labels=labels)
        age = GaugeMetricFamily("mailroom_jobs_oldest_seconds", "Age of the oldest job", labels=labels)
        now = time.time()
        backlog = self._mailroom.catalogue.jobs.backlog()
        for row in backlog:
            values = tuple(row[label] for label in labels)
            number.add_metric(values, row["count"])
            age.add_metric(values, max(0.0, now - (row["oldest"] or now)))
        yield number
        yield age
        yield from self._installation(backlog)
        waiting = self._notifier.waiting()
        yield GaugeMetricFamily("mailroom_broker_up", "1 when the broker answers", value=float(waiting is not None))
        reader = self._mailroom.reader
        size = len(reader.snapshot().numbers)
        yield GaugeMetricFamily("mailroom_index_documents", "Documents in the index generation in use", value=size)
        yield GaugeMetricFamily(
            "mailroom_index_stale", "1 when the newest generation cannot be used", value=reader.stale
        )

    def _installation(self, backlog: Sequence[Mapping[str, Any]]) -> Iterator[Metric]:
        """Yield what the processes reported, and what runs short."""
        settings = self._mailroom.settings
        reports = read_reports(settings.run_path)
        processes = GaugeMetricFamily("mailroom_role_processes", "Processes alive that serve a role", labels=("role",))
        silence = GaugeMetricFamily("mailroom_role_last_sign_seconds", "Since its last sign of life", labels=("role",))
        for role in role_states(reports, time.time()):
            processes.add_metric((role.role,), role.processes)
            if role.last_sign_seconds is not None:
                silence.add_metric((role.role,), role.last_sign_seconds)
        yield processes
        yield silence
        yield from _work(totals(reports))
        lag = index_lag(backlog)
        yield GaugeMetricFamily("mailroom_index_lag_seconds", "Wait of the oldest document for the writer", value=lag)
        dead = dead_deliveries(backlog)
        yield GaugeMetricFamily("mailroom_deliveries_dead", "Deliveries given up", value=dead)
        with contextlib.suppress(OSError):
            disk = shutil.disk_usage(settings.home)
            yield GaugeMetricFamily("mailroom_disk_free_bytes", "Free on the data folder's disk", value=disk.free)
            yield GaugeMetricFamily("mailroom_disk_bytes", "Size of the data folder's disk", value=disk.total)


def _work(total: Totals) -> Iterator[Metric]:
    """Yield the counters of all processes: seconds and failures by stage, processor time by role."""
    seconds = HistogramMetricFamily("mailroom_stage_seconds", "Seconds per run of a stage", labels=("stage",))
    for stage, row in total.buckets.items():
        bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
        seconds.add_metric((stage,), list(zip(bounds, accumulate(row), strict=True)), total.sums[stage])
    yield seconds
    failures = CounterMetricFamily("mailroom_stage_failures", "Failures of a stage by code", labels=("stage", "code"))
    for (stage, code), count in total.failures.items():
        failures.add_metric((stage, code), count)
    yield failures
    processor = CounterMetricFamily("mailroom_processor_seconds", "Processor time by role", labels=("role",))
    for roles, spent in total.processor.items():
        processor.add_metric((roles,), spent)
    yield processor
