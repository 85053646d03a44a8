"""Measure the audit: entries verified per second, and what it adds to the transaction of an upload.

    python -m tests.benchmarks.audit [--entries 100000] [--uploads 400]

SQLite in a folder of the working directory, and PostgreSQL where it is installed. Uploads with and without the audit
alternate in blocks, so that the machine's other load falls on both.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

from indexes.catalogue import audit
from indexes.catalogue.audit_store import BATCH
from indexes.catalogue.catalogue import Catalogue
from indexes.open import open_catalogue
from pipeline.audit import entry
from pipeline.documents import Arrival
from tests.benchmarks.record import record
from tests.support.postgres import PostgresServer, find_binaries

BLOCKS = 8


def main() -> None:
    """Measure both databases and record the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--uploads", type=int, default=400)
    options = parser.parse_args()
    figures: dict[str, float] = {}
    for kind, url in databases():
        catalogue = open_catalogue(url)
        measured = {**upload_cost(catalogue, options.uploads), **verification(catalogue, options.entries)}
        figures |= {f"{kind} {name}": value for name, value in measured.items()}
        catalogue.close()
    command = f"python -m tests.benchmarks.audit --entries {options.entries} --uploads {options.uploads}"
    record("audit", command, figures, data="entries of reads of 100 bytes of data; uploads of distinct documents")


def databases() -> Iterator[tuple[str, str]]:
    """Yield the name and URL of each database."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        yield "SQLite", f"sqlite:///{folder}/catalogue.db"
    if (binaries := find_binaries()) is not None:
        server = PostgresServer(binaries)
        yield "PostgreSQL", server.database()
        server.stop()


@contextmanager
def without_audit() -> Iterator[None]:
    """Let transactions end without appending to the audit."""
    with patch.object(audit, "seal", lambda connection, _: audit.begin(connection)):
        yield


def upload_cost(catalogue: Catalogue, uploads: int) -> Mapping[str, float]:
    """Return milliseconds of an upload's transaction (median) with the audit and without it."""
    number, times = 0, {True: [], False: []}
    for block in range(-1, 2 * BLOCKS):
        for _ in range(uploads // BLOCKS):
            number += 1
            arrival = Arrival("api", f"{number}.txt", 1.0, ("*",))
            with without_audit() if block % 2 else nullcontext():
                started = time.perf_counter()
                catalogue.documents.receive(f"{number:064x}", 1, arrival)
                seconds = time.perf_counter() - started
            if block >= 0:
                times[block % 2 == 0].append(seconds * 1000)
    medians = {name: statistics.median(times[name]) for name in (True, False)}
    return {"upload, with the audit, ms": medians[True], "upload, without, ms": medians[False]}


def verification(catalogue: Catalogue, entries: int) -> Mapping[str, float]:
    """Return how many entries are appended (in batches) and verified per second."""
    started = time.perf_counter()
    for start in range(0, entries, BATCH):
        batch = [entry("document.read", f"document:{n:032x}", {"status": 200}) for n in range(start, start + BATCH)]
        catalogue.audit.append(batch)
    appended, check = time.perf_counter(), catalogue.audit.verify()
    seconds = time.perf_counter() - appended
    assert not check.faults
    return {"entries appended per s": entries / (appended - started), "entries verified per s": check.entries / seconds}


if __name__ == "__main__":
    main()
