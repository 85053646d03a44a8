"""Measure /healthz and searches beside idle connections and expensive requests: `python -m tests.benchmarks.api_load`.

The API runs in a process of its own. Each of three situations is measured in turn, several times: at rest, beside 1,000
connections (half of them with half a request), and beside 60 parallel explanations with another key.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.benchmarks.corpus import OBJECTS, SUBJECTS, sentences
from tests.benchmarks.record import record
from tests.benchmarks.search_latency import percentile, timed
from tests.support.installation import Installation
from tests.support.serving import client
from workers.assemble import Mailroom
from workers.settings import load_settings

DOCUMENTS, IDLE, EXPENSIVE, REQUESTS, ROUNDS, SEED = 40, 1000, 60, 60, 3, 5


def main() -> None:
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as scratch, Installation(Path(scratch) / "data") as running:
        mailroom = Mailroom(load_settings({"data.path": str(running.folder)}, environ={}).settings)
        with running.client() as root, client(running.url, mailroom, ["user:ann"]) as ann:
            document = fill(root, rng)
            statuses: Counter[int] = Counter()
            seconds: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                measure(seconds, "at rest", ann, rng)
                with idle_connections(running.url):
                    measure(seconds, f"beside {IDLE} idle connections", ann, rng)
                with explanations(root, document, statuses):
                    measure(seconds, f"beside {EXPENSIVE} explanations", ann, rng)
        mailroom.close()
    figures = {f"{name} p95 ms": percentile(values, 95) for name, values in seconds.items()}
    for what in ("healthz", "search"):
        for load in (f"beside {IDLE} idle connections", f"beside {EXPENSIVE} explanations"):
            ratio = figures[f"{what} {load} p95 ms"] / figures[f"{what} at rest p95 ms"]
            figures[f"{what} {load}, times rest"] = round(ratio, 2)
    figures |= {f"explanations answered {status}": count for status, count in sorted(statuses.items())}
    print(json.dumps(figures, indent=1))
    data = f"{DOCUMENTS} generated letters; {ROUNDS} rounds of {REQUESTS} requests each"
    record("api_load", "python -m tests.benchmarks.api_load", figures, SEED, data)


def fill(root: httpx.Client, rng: random.Random) -> str:
    """Send letters that everyone may read, wait until they are indexed, and return the ID of the last one."""
    ids = [
        root.post(
            "/v1/documents", content=" ".join(sentences(rng, 200)).encode(), params={"name": f"{n}.txt", "access": "*"}
        ).json()["id"]
        for n in range(DOCUMENTS)
    ]
    while any(root.get(f"/v1/documents/{document}").json()["state"] == "processing" for document in ids):
        time.sleep(0.5)
    return ids[-1]


def measure(seconds: dict[str, list[float]], load: str, ann: httpx.Client, rng: random.Random) -> None:
    """Add the seconds of health checks and of searches by Ann, in turn."""

    def search() -> None:
        query = f"{rng.choice(SUBJECTS)} {rng.choice(OBJECTS)}"
        assert ann.get("/v1/search", params={"query": query}).status_code == 200

    def health() -> None:
        assert ann.get("/healthz").status_code == 200

    calls: dict[str, Callable[[], None]] = {"healthz": health, "search": search}
    for _ in range(REQUESTS):
        for name, call in calls.items():
            seconds.setdefault(f"{name} {load}", []).append(timed(call))


@contextmanager
def idle_connections(url: str) -> Iterator[None]:
    """Hold connections without a key: one half silent, the other with half of a request's head."""
    place = urlsplit(url)
    with ExitStack() as stack:
        for number in range(IDLE):
            line = stack.enter_context(socket.create_connection((place.hostname, place.port or 80)))
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" if number % 2 else b"")
        yield


@contextmanager
def explanations(root: httpx.Client, document: str, statuses: Counter[int]) -> Iterator[None]:
    """Ask for the same explanation again and again over parallel connections, and count the answers."""
    ended = False

    def ask() -> None:
        while not ended:
            with contextlib.suppress(httpx.HTTPError):
                answer = root.get(f"/v1/documents/{document}/why", timeout=120)
                statuses[answer.status_code] += 1
                time.sleep(float(answer.headers.get("retry-after", 0)))

    with ThreadPoolExecutor(EXPENSIVE) as pool:
        for _ in range(EXPENSIVE):
            pool.submit(ask)
        time.sleep(1)
        try:
            yield
        finally:
            ended = True


if __name__ == "__main__":
    main()
