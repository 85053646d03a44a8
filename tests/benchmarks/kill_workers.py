"""Kill random worker processes during an ingest and count the documents that are lost or processed twice.

    python -m tests.benchmarks.kill_workers [--documents 200] [--kills 60] [--seed 11]

A SIGKILL hits a Celery child, a whole Celery worker or the index writer at a random moment. Documents arrive during
the whole campaign, so that there is always work to interrupt. In the end every document must have ended exactly once,
and the index must hold exactly the documents of the catalogue.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from indexes.reader import FolderReader
from pipeline.documents import TERMINAL, State
from pipeline.questions import ADMINISTRATOR, Filters
from tests.benchmarks.corpus import write_corpus
from tests.benchmarks.record import record
from tests.scenarios.running import Running, wait_for

#: The targets, each as often as it is hit in ten kills.
TARGETS = ("child",) * 7 + ("worker",) * 2 + ("writer",)
#: Seconds at most between the end of a document and the next kill; a document takes about one.
LONGEST_PAUSE = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        files = write_corpus(Path(folder) / "corpus", options.documents, options.seed)
        with Running(Path(folder) / "data", workers__lease_seconds="3", workers__max_attempts="20") as mailroom:
            figures = campaign(mailroom, files, options.kills, rng)
    command = f"python -m tests.benchmarks.kill_workers --documents {options.documents} --kills {options.kills}"
    data = f"{options.documents} generated documents of one to five pages; lease 3 s, at most 20 attempts instead of 3"
    print(record("kill_workers", command, figures, seed=options.seed, data=data).read_text())


def campaign(mailroom: Running, files: list[Path], kills: int, rng: random.Random) -> dict[str, object]:
    """Drop the files in during the whole campaign, kill processes, wait for the end, and return the counts."""
    started = time.monotonic()
    hits: Counter[str] = Counter()
    names = {path.name for path in files}
    waves = [files[i::kills] for i in range(kills)]
    for wave in waves:
        for path in wave:
            path.rename(mailroom.tray / path.name)
        _await_progress(mailroom)
        time.sleep(rng.uniform(0.0, LONGEST_PAUSE))
        hits[_kill(mailroom, rng)] += 1
    wait_for(lambda: _ended(mailroom) >= len(names), 900, "the documents to end", mailroom)
    seconds = time.monotonic() - started
    return {"documents": len(names), "kills": sum(hits.values()), **_kinds(hits), **_count(mailroom, names, seconds)}


def _await_progress(mailroom: Running) -> None:
    """Wait until another document has ended: on a slow machine the kills would otherwise stop all progress."""
    before = _ended(mailroom)
    wait_for(lambda: _ended(mailroom) > before, 120, "progress after a kill", mailroom)


def _kill(mailroom: Running, rng: random.Random) -> str:
    """Kill one process, waiting for one to appear if need be; return the kind of target."""
    target = rng.choice(TARGETS)
    while True:
        with contextlib.suppress(LookupError, IndexError, psutil.Error):
            if target == "child":
                rng.choice(mailroom.children()).kill()
            elif target == "worker":
                mailroom.role("--queues=ingest").kill()
            else:
                mailroom.role("workers.run", " writer ").kill()
            return target
        time.sleep(0.1)


def _ended(mailroom: Running) -> int:
    return sum(document.state in TERMINAL for document in mailroom.documents().values())


def _kinds(hits: Counter[str]) -> dict[str, int]:
    return {f"kills_{kind}": hits[kind] for kind in ("child", "worker", "writer")}


def _count(mailroom: Running, names: set[str], seconds: float) -> dict[str, object]:
    documents = mailroom.documents()
    ends = {name: _events(mailroom, document.id, "ended") for name, document in documents.items()}
    expected = mailroom.catalogue.documents.visible(ADMINISTRATOR, Filters())
    wait_for(
        lambda: FolderReader(mailroom.settings.index_path).snapshot().numbers == expected, 30, "the index", mailroom
    )
    states = Counter(str(document.state) for document in documents.values())
    return {
        "lost": len(names - documents.keys()) + sum(d.state not in TERMINAL for d in documents.values()),
        "duplicated": sum(count > 1 for count in ends.values()) + len(documents.keys() - names),
        "quarantined": states[State.QUARANTINED],
        "states": dict(states),
        "index_equals_catalogue": FolderReader(mailroom.settings.index_path).snapshot().numbers == expected,
        "seconds": round(seconds, 1),
    }


def _events(mailroom: Running, document_id: str, event: str) -> int:
    return sum(entry.event == event for entry in mailroom.catalogue.documents.history(document_id)[1])


if __name__ == "__main__":
    main()
