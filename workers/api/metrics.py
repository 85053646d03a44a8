"""Metrics for Prometheus. What the catalogue knows is read at the moment of the scrape, never counted twice."""

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

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing, so that registering does not collect."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
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
        for row in self._mailroom.catalogue.jobs.backlog():
            values = tuple(row[label] for label in labels)
            number.add_metric(values, row["count"])
            age.add_metric(values, max(0.0, now - (row["oldest"] or now)))
        yield number
        yield age
        waiting = self._notifier.waiting()
        yield GaugeMetricFamily("mailroom_broker_up", "1 when the broker answers", value=float(waiting is not None))
        reader = self._mailroom.reader
        size = len(reader.snapshot().numbers)
        yield GaugeMetricFamily("mailroom_index_documents", "Documents in the index generation in use", value=size)
        yield GaugeMetricFamily(
            "mailroom_index_stale", "1 when the newest generation cannot be used", value=reader.stale
        )
