"""Measure ingestion end to end on this machine: `python -m tests.benchmarks.throughput`.

500 generated documents of one to five pages are dropped into the tray of a new installation. Start-up time and memory
at rest are measured before, the time from drop to first hit afterwards.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx
import sqlalchemy as sa
from tqdm import tqdm

from indexes.catalogue.tables import events
from tests.benchmarks.corpus import write_corpus
from tests.benchmarks.record import record
from tests.support.installation import Installation

COUNT, SEED, DROPS = 500, 7, 10


def main(count: int = COUNT) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        corpus = write_corpus(Path(scratch) / "corpus", count, SEED)
        with Installation(Path(scratch) / "data") as mailroom, mailroom.client() as client:
            time.sleep(15)  # let every worker load its models
            figures = {"start_s": round(mailroom.start_seconds, 1), "memory_at_rest_mb": round(mailroom.memory_mb())}
            figures |= ingest(mailroom, client, corpus)
            figures["drop_to_hit_s_median"] = round(statistics.median(drops(mailroom, client)), 2)
            figures["stage_share"] = stage_share(mailroom)
    print(json.dumps(figures, indent=1))
    record("throughput", "python -m tests.benchmarks.throughput", figures, SEED, f"{count} generated documents")


def ingest(mailroom: Installation, client: httpx.Client, corpus: list[Path]) -> dict[str, float]:
    """Drop all files and wait until none is being processed."""
    started = time.monotonic()
    for path in corpus:
        shutil.copy(path, mailroom.tray / path.name)
    with tqdm(total=len(corpus), unit="doc") as bar:
        while (done := at_rest(client)) < len(corpus):
            bar.update(done - bar.n)
            time.sleep(0.5)
    seconds = time.monotonic() - started
    return {
        "documents": len(corpus),
        "documents_per_s": round(len(corpus) / seconds, 2),
        "memory_after_mb": round(mailroom.memory_mb()),
    }


def at_rest(client: httpx.Client) -> int:
    """Return the number of documents that are not being processed."""
    states = client.get("/v1/jobs").json()["documents"]
    return sum(count for state, count in states.items() if state != "processing")


def drops(mailroom: Installation, client: httpx.Client) -> list[float]:
    """Return the seconds from a file's arrival in the tray to the first search that finds it, for `DROPS` files."""
    times = []
    for number in range(DROPS):
        code = f"QX-{70000 + number}"
        path = mailroom.folder / f"drop-{number}.txt"
        path.write_text(f"Inspection note {code}. The valve of the northern pump was replaced on Tuesday morning.\n")
        started = time.monotonic()
        path.rename(mailroom.tray / path.name)
        while not client.get("/v1/search", params={"query": f'"{code}"', "mode": "lexical"}).json()["items"]:
            time.sleep(0.05)
        times.append(time.monotonic() - started)
    return times


def stage_share(mailroom: Installation) -> dict[str, float]:
    """Return the share of the working time by stage, from the decision records."""
    totals: dict[str, float] = defaultdict(float)
    with mailroom.mailroom().catalogue.database.read() as connection:
        for stage, data in connection.execute(sa.select(events.c.stage, events.c.data)):
            totals[stage] += data.get("seconds", 0.0)
    whole = sum(totals.values())
    return {stage: round(seconds / whole, 3) for stage, seconds in totals.items() if seconds}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else COUNT)
