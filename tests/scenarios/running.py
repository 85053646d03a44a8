"""A whole Mailroom in a folder of its own: real broker, workers, writer, tray and API under the real supervisor."""

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
    "import sys; from workers.settings import load_settings; from workers.supervisor import Supervisor; from pathlib import Path;"
    "o = dict(zip(sys.argv[2::2], sys.argv[3::2]));"
    "flags = [w for k, v in o.items() for w in ('--set', k + '=' + v)];"
    "sys.exit(Supervisor(load_settings(o).settings, flags).run(Path(sys.argv[1]).touch))"
)


class Running:
    """Start with `with Running(folder) as mailroom`; stopped by SIGTERM at the end, every process checked to be gone."""

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
        mark = self.home / "started"
        mark.unlink(missing_ok=True)
        self.process = self.launch(mark)
        try:
            wait_for(lambda: mark.exists() or self.process.poll() is not None, 180, "Mailroom to start", self)
            assert self.process.poll() is None, (self.home / "up.log").read_text()
        except BaseException:
            self.kill([])
            raise
        self.catalogue = open_catalogue(self.settings.catalogue_url)
        return self

    def __exit__(self, *_: object) -> None:
        self.catalogue.close()
        left = self.stop()
        assert left == [], left

    def launch(self, mark: Path) -> subprocess.Popen[bytes]:
        environ = {**os.environ, "MAILROOM_FAULT": self._fault}
        arguments = [part for pair in self.overrides.items() for part in pair]
        with (self.home / "up.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(mark), *arguments], cwd=ROOT, env=environ, stdout=log, stderr=log
            )

    def stop(self, seconds: float = 60.0) -> list[str]:
        """SIGTERM; returns the processes that outlived it by more than a moment. None is left to the tests that follow."""
        if self.process.poll() is not None:
            return []
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
            _, left = psutil.wait_procs(family, timeout=5)
            return [" ".join(p.cmdline()) for p in left if p.status() != psutil.STATUS_ZOMBIE]
        finally:
            self.kill(family)

    def kill(self, family: Sequence[psutil.Process]) -> None:
        """Whatever is left: the supervisor, its children and these."""
        with contextlib.suppress(psutil.Error):
            family = [psutil.Process(self.process.pid), *self.family(), *family]
        for process in family:
            with contextlib.suppress(psutil.Error):  # it may be gone by now
                process.kill()

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def role(self, *words: str) -> psutil.Process:
        """The process that the supervisor started with these words in its command line."""
        for process in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it may be gone by now
                line = " ".join(process.cmdline())
                if all(word in line for word in words):
                    return process
        raise LookupError(words)

    def children(self) -> list[psutil.Process]:
        """Celery's forked children."""
        found = []
        for process in self.role("--queues=ingest").children():
            with contextlib.suppress(psutil.Error):
                found += [process] if "--queues=ingest" in " ".join(process.cmdline()) else []
        return found

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
        """Put files into the tray as a careful program does: written elsewhere, renamed in."""
        aside = self.home / "outside"
        aside.mkdir(exist_ok=True)
        for name, text in texts.items():
            (aside / name).write_text(text)
            (aside / name).rename(self.tray / name)

    def documents(self) -> dict[str, Document]:
        found, _ = self.catalogue.documents.find(ADMINISTRATOR, Filters(), limit=10_000)
        return {document.name: document for document in found}

    def await_all(self, names: set[str], seconds: float = 150) -> dict[str, Document]:
        """Wait until each of these documents has come to its end."""

        def over() -> bool:
            found = self.documents()
            return all(name in found and found[name].state in TERMINAL for name in names)

        wait_for(over, seconds, f"{len(names)} documents to end", self)
        return self.documents()

    def check_once(self) -> None:
        """Nothing lost, nothing twice: every document ended once, and the index holds exactly what the catalogue does."""
        for document in self.documents().values():
            _, events = self.catalogue.documents.history(document.id)
            ended = [event.stage for event in events if event.event == "ended"]
            assert len(ended) == 1, (document.name, [(e.stage, e.event) for e in events])
        expected = self.catalogue.documents.visible(ADMINISTRATOR, Filters())
        wait_for(lambda: FolderReader(self.settings.index_path).snapshot().numbers == expected, 180, "the index", self)
        assert not any(row["state"] == "waiting" and row["queue"] == "ingest" for row in self.catalogue.jobs.backlog())

    def story(self) -> str:
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
    raise AssertionError(f"waited {seconds:.0f} s for {what}\n{mailroom.story() if mailroom else ''}")


def letters(prefix: str, count: int) -> dict[str, str]:
    """Short readable texts, each of its own."""
    line = (
        "Dear colleagues, the delivery of the spare parts for pump number {n} will arrive on Monday at the {p} store."
    )
    return {f"{prefix}-{n}.txt": line.format(n=n, p=prefix) for n in range(count)}
