"""Figures for Prometheus. What the catalogue knows is read at the moment of the scrape, never counted twice."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pipeline.documents import State
from workers.assemble import Mailroom
from workers.queue.notify import Notifier

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Requests:
    """Counts of requests by method, route template and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("method", "route")
        self._total = Counter("mailroom_requests", "Requests answered", (*names, "status"), registry=registry)
        self._seconds = Histogram(
            "mailroom_request_seconds", "Seconds per request", names, buckets=_BUCKETS, registry=registry
        )
        self._bytes = Counter("mailroom_upload_bytes", "Bytes of stored uploads", registry=registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
        self._total.labels(method, route, status).inc()
        self._seconds.labels(method, route).observe(seconds)

    def uploaded(self, size: int) -> None:
        self._bytes.inc(size)


class MailroomCollector(Collector):
    """Documents by state, jobs by lane, the broker and the index, as they are now."""

    def __init__(self, mailroom: Mailroom, notifier: Notifier) -> None:
        self._mailroom, self._hints = mailroom, notifier

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # or registering would collect

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield self._documents()
        yield from self._jobs()
        waiting = self._hints.waiting()
        yield GaugeMetricFamily("mailroom_broker_up", "1 when the broker answers", value=float(waiting is not None))
        reader = self._mailroom.reader
        held = len(reader.snapshot().numbers)
        yield GaugeMetricFamily("mailroom_index_documents", "Documents in the index generation in use", value=held)
        yield GaugeMetricFamily(
            "mailroom_index_stale", "1 when the newest generation cannot be used", value=reader.stale
        )

    def _documents(self) -> GaugeMetricFamily:
        counts = self._mailroom.catalogue.documents.counts()
        family = GaugeMetricFamily("mailroom_documents", "Documents by state", labels=("state",))
        for state in State:
            family.add_metric((str(state),), counts.get(state, 0))
        return family

    def _jobs(self) -> Iterator[GaugeMetricFamily]:
        number = GaugeMetricFamily("mailroom_jobs", "Jobs in the job store", labels=("queue", "stage", "state"))
        age = GaugeMetricFamily(
            "mailroom_jobs_oldest_seconds", "Age of the oldest job", labels=("queue", "stage", "state")
        )
        now = time.time()
        for row in self._mailroom.catalogue.jobs.backlog():
            names = (row["queue"], row["stage"], row["state"])
            number.add_metric(names, row["count"])
            age.add_metric(names, max(0.0, now - (row["oldest"] or now)))
        yield number
        yield age
