"""`mailroom index rebuild` after each fault of the index's folder while the API serves.

Health reports the fault, the catalogue is not touched, and every hit comes back. A full and a read-only disk:
tests/hostile/test_index_disk.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from indexes import generations as gen
from indexes.reader import FolderReader
from tests.support.embedded import embedded
from tests.support.serving import client, make_mailroom, serving
from workers.assemble import Mailroom
from workers.cli import exits
from workers.cli.main import main
from workers.services.rebuild import rebuild_folder

ROOT = Path(__file__).parents[2]
KILLED_AT_THE_SECOND_CHECKPOINT = """
import sys
from pipeline.faults import arm
from workers.services import rebuild
from workers.cli.main import main
rebuild.CHECKPOINT = 2
arm("rebuild.checkpoint:kill")
main(["--data", sys.argv[1], "index", "rebuild"])
"""


class Place:
    """A served installation of five documents, without a writer; ``older`` is a copy of its index of two."""

    def __init__(self, mailroom: Mailroom, older: Path, http: httpx.Client) -> None:
        self.mailroom, self.older, self._http = mailroom, older, http
        self.index = mailroom.settings.index_path

    def health(self) -> str:
        return self._http.get("/healthz").json()["index"]

    def hits(self) -> list[list[str]]:
        """Return the documents by words and by vectors, in order."""
        requests = [{"query": "text number", "mode": mode, "per_document": 5} for mode in ("lexical", "vector")]
        answers = [self._http.get("/v1/search", params=params).raise_for_status().json() for params in requests]
        return [[item["document_id"] for item in answer["items"]] for answer in answers]

    def catalogue(self) -> list[str]:
        """Dump the rows of documents, chunks, jobs and events."""
        with sqlite3.connect(self.mailroom.settings.home / "catalogue.db") as connection:
            tables = ("documents", "chunks", "jobs", "events")
            rows = [
                line for line in connection.iterdump() if line.startswith(tuple(f'INSERT INTO "{t}"' for t in tables))
            ]
        assert len(rows) >= 10
        return rows

    def rebuild(self) -> int:
        return main(["--data", str(self.mailroom.settings.home), "index", "rebuild"])

    def await_health(self, state: str) -> None:
        wait_for(lambda: self.health() == state, f"health to report {state}")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Serve one installation for all tests here: a rebuild restores it."""
    folder = tmp_path_factory.mktemp("faults")
    mailroom, older = make_mailroom(folder / "data"), folder / "older"
    for numbers in ((1, 2), (3, 4, 5)):
        for number in numbers:
            embedded(mailroom, number)
        mailroom.indexer().step()
        if not older.exists():
            shutil.copytree(mailroom.settings.index_path, older)
    mailroom.writer.close()
    with pytest.MonkeyPatch.context() as sooner, serving(mailroom) as url, client(url, mailroom, admin=True) as http:
        sooner.setattr("workers.api.health.COMPARE_SECONDS", 0.0)
        sooner.setattr("workers.api.health.CACHE_SECONDS", 0.0)
        yield Place(mailroom, older, http)
    mailroom.close()


def delete(place: Place) -> None:
    shutil.rmtree(place.index)


def restore_older(place: Place) -> None:
    shutil.rmtree(place.index)
    shutil.copytree(place.older, place.index)


def empty(place: Place) -> None:
    shutil.rmtree(place.index / "generations")
    (place.index / "CURRENT").unlink()


def remove_current(place: Place) -> None:
    (place.index / "CURRENT").unlink()


def flip_bit(place: Place) -> None:
    """Flip one bit of the oldest vectors in place, and so in every generation that links them."""
    file = min((gen.current(place.index) / "vectors").glob("*.f32"), key=lambda file: file.stat().st_mtime_ns)
    with file.open("r+b") as vectors:
        first = vectors.read(1)[0]
        vectors.seek(0)
        vectors.write(bytes([first ^ 1]))
    os.utime(file, ns=(1, 1))  # a clock too coarse to distinguish the two times would hide it


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (delete, "stale"),
        (restore_older, "behind"),
        (empty, "stale"),
        (remove_current, "damaged"),
        (flip_bit, "stale"),
    ],
)
def test_a_rebuild_brings_every_hit_back(place: Place, fault: Callable[[Place], None], state: str) -> None:
    place.await_health("ok")
    hits, catalogue = place.hits(), place.catalogue()
    assert [len(documents) for documents in hits] == [5, 5]
    fault(place)
    place.await_health(state)
    assert place.catalogue() == catalogue
    assert all(set(remaining) <= set(documents) for remaining, documents in zip(place.hits(), hits, strict=True))
    assert place.rebuild() == exits.OK
    wait_for(lambda: place.hits() == hits, "every hit")
    place.await_health("ok")
    assert place.catalogue() == catalogue


def test_a_killed_rebuild_resumes_while_the_former_index_serves(place: Place) -> None:
    place.await_health("ok")
    hits, catalogue = place.hits(), place.catalogue()
    command = [sys.executable, "-c", KILLED_AT_THE_SECOND_CHECKPOINT, str(place.mailroom.settings.home)]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert (place.health(), place.hits(), place.catalogue()) == ("ok", hits, catalogue)
    candidate = rebuild_folder(place.index)
    assert len(FolderReader(candidate).snapshot().numbers) == 2  # from here it resumes
    assert place.rebuild() == exits.OK
    assert not candidate.exists()
    wait_for(lambda: place.hits() == hits, "every hit")
    assert (place.health(), place.catalogue()) == ("ok", catalogue)
