"""A complete Mailroom in a folder of its own: real broker, workers, writer, tray and API under the real supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import redis

from indexes.open import open_catalogue
from indexes.reader import FolderReader
from pipeline.documents import TERMINAL, Document
from pipeline.questions import ADMINISTRATOR, Filters
from workers.queue.notify import connect
from workers.settings import load_settings

ROOT = Path(__file__).parents[2]
LAUNCH = (
    "import sys; from pathlib import Path;"
    "from workers.settings import load_settings; from workers.supervisor import Supervisor;"
    "o = dict(zip(sys.argv[2::2], sys.argv[3::2]));"
    "flags = [w for k, v in o.items() for w in ('--set', k + '=' + v)];"
    "sys.exit(Supervisor(load_settings(o).settings, flags).run(Path(sys.argv[1]).touch))"
)


class Running:
    """Runs while `with Running(folder) as mailroom` does; ends by SIGTERM, and checks that every process has ended."""

    def __init__(self, home: Path, fault: str = "", **overrides: str) -> None:
        self.home, self._fault = home, fault
        self.overrides: dict[str, str] = {
            "data.path": str(home),
            "api.port": "0",
            "workers.lease_seconds": "3",
            "tray.stable_seconds": "0.2",
            **{key.replace("__", "."): value for key, value in overrides.items()},
        }
        self.settings = load_settings(self.overrides, environ={}).settings

    def __enter__(self) -> Running:
        self.home.mkdir(parents=True, exist_ok=True)
        marker = self.home / "started"
        marker.unlink(missing_ok=True)
        self.process = self.launch(marker)
        try:
            wait_for(lambda: marker.exists() or self.process.poll() is not None, 180, "Mailroom to start", self)
            assert self.process.poll() is None, (self.home / "up.log").read_text()
        except BaseException:
            self.kill([])
            raise
        self.catalogue = open_catalogue(self.settings.catalogue_url)
        return self

    def __exit__(self, *_: object) -> None:
        self.catalogue.close()
        survivors = self.stop()
        assert survivors == [], survivors

    def launch(self, marker: Path) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "MAILROOM_FAULT": self._fault}
        arguments = [part for pair in self.overrides.items() for part in pair]
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(marker), *arguments], cwd=ROOT, env=environ, stdout=log, stderr=log
            )

    def stop(self, seconds: float = 60.0) -> list[str]:
        """Send SIGTERM and return the command lines of the processes that outlive it by over 5 s; then kill them."""
        if self.process.poll() is not None:
            return []
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
            _, alive = psutil.wait_procs(family, timeout=5)
            return [" ".join(p.cmdline()) for p in alive if p.status() != psutil.STATUS_ZOMBIE]
        finally:
            self.kill(family)

    def kill(self, family: Sequence[psutil.Process]) -> None:
        """Kill the supervisor, its children and the processes of ``family``."""
        with contextlib.suppress(psutil.Error):
            family = [psutil.Process(self.process.pid), *self.family(), *family]
        for process in family:
            with contextlib.suppress(psutil.Error):  # it may be gone by now
                process.kill()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def role(self, *words: str) -> psutil.Process:
        """Find the process that the supervisor started with these words in its command line. Raises LookupError."""
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it may be gone by now
                line = " ".join(process.cmdline())
                if all(word in line for word in words):
                    return process
        raise LookupError(words)

    def children(self) -> list[psutil.Process]:
        """List Celery's forked children."""
        children = []
        for process in self.role("--queues=ingest").children():
            with contextlib.suppress(psutil.Error):
                children += [process] if "--queues=ingest" in " ".join(process.cmdline()) else []
        return children

    @property
    def broker(self) -> psutil.Process:
        return self.role("valkey-server")

    @property
    def redis(self) -> redis.Redis:
        return connect(self.settings)

    @property
    def tray(self) -> Path:
        return self.home / "tray"

    def drop(self, texts: Mapping[str, str]) -> None:
        """Put files into the tray as a careful program does: write them elsewhere, then rename them."""
        staging = self.home / "outside"
        staging.mkdir(exist_ok=True)
        for name, text in texts.items():
            (staging / name).write_text(text)
            (staging / name).rename(self.tray / name)

    def documents(self) -> dict[str, Document]:
        documents, _ = self.catalogue.documents.find(ADMINISTRATOR, Filters(), limit=10_000)
        return {document.name: document for document in documents}

    def await_all(self, names: set[str], seconds: float = 150) -> dict[str, Document]:
        """Wait until each of these documents is in a terminal state."""

        def terminal() -> bool:
            documents = self.documents()
            return all(name in documents and documents[name].state in TERMINAL for name in names)

        wait_for(terminal, seconds, f"{len(names)} documents to end", self)
        return self.documents()

    def check_once(self) -> None:
        """Check that every document ended exactly once, and that the index has exactly the catalogue's documents."""
        for document in self.documents().values():
            _, events = self.catalogue.documents.history(document.id)
            ends = [event.stage for event in events if event.event == "ended"]
            assert len(ends) == 1, (document.name, [(e.stage, e.event) for e in events])
        expected = self.catalogue.documents.visible(ADMINISTRATOR, Filters())
        wait_for(lambda: FolderReader(self.settings.index_path).snapshot().numbers == expected, 180, "the index", self)
        assert not any(row["state"] == "waiting" and row["queue"] == "ingest" for row in self.catalogue.jobs.backlog())

    def report(self) -> str:
        """Describe the states of the documents and the ends of the logs, for a failure's message."""
        logs = [f"== {p.name}\n{p.read_text(errors='replace')[-1500:]}" for p in (self.home / "logs").glob("*.log")]
        states = {d.name: (d.state, d.stage, d.reason) for d in self.documents().values()} if self.catalogue else {}
        return json.dumps(states)[:3000] + "\n".join(logs) + (self.home / "up.log").read_text()[-3000:]

    catalogue = None


def wait_for(condition: Callable[[], bool], seconds: float, what: str, mailroom: Running | None = None) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:.0f} s for {what}\n{mailroom.report() if mailroom else ''}")


def letters(prefix: str, count: int) -> dict[str, str]:
    """Return ``count`` short readable texts, all different, by file name."""
    line = (
        "Dear colleagues, the delivery of the spare parts for pump number {n} will arrive on Monday at the {p} store."
    )
    return {f"{prefix}-{n}.txt": line.format(n=n, p=prefix) for n in range(count)}
