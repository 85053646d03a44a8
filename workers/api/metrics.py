"""Prometheus: what the catalogue counts, read at scrape time, and what this process served."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastapi import Request, Response
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

from workers.assemble import House

REQUESTS = Counter("mailroom_http_requests_total", "Requests by route and status", ("method", "route", "status"))
SECONDS = Histogram("mailroom_http_request_seconds", "Time to answer by route", ("route",))
DOCUMENTS = Gauge("mailroom_documents", "Documents by state", ("state",))
JOBS = Gauge("mailroom_jobs", "Jobs by lane, stage and state", ("lane", "stage", "state"))
OLDEST = Gauge("mailroom_oldest_job_seconds", "Age of the oldest job by lane", ("lane",))
PASSAGES = Gauge("mailroom_index_passages", "Passages in the generation that is served")
STALE = Gauge("mailroom_index_stale", "1 when an older generation is served")


def scrape(house: House) -> bytes:
    """The text of one scrape."""
    for gauge in (DOCUMENTS, JOBS, OLDEST):
        gauge.clear()
    for state, count in house.catalogue.documents.counts().items():
        DOCUMENTS.labels(state).set(count)
    oldest: dict[str, float] = {}
    for row in house.catalogue.ledger.backlog():
        JOBS.labels(row["lane"], row["stage"], row["state"]).set(row["count"])
        oldest[row["lane"]] = min(oldest.get(row["lane"], row["oldest"]), row["oldest"])
    for lane, since in oldest.items():
        OLDEST.labels(lane).set(max(0.0, time.time() - since))
    PASSAGES.set(len(house.reader.snapshot().vectors))
    STALE.set(house.reader.stale)
    return generate_latest(REGISTRY)


async def observe(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Count and time every request by its route's template, so that ids never become labels."""
    started = time.perf_counter()
    response = await call_next(request)
    route = getattr(request.scope.get("route"), "path", "unknown")
    REQUESTS.labels(request.method, route, response.status_code).inc()
    SECONDS.labels(route).observe(time.perf_counter() - started)
    return response
