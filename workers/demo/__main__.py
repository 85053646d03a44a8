"""`make demo`: start everything, drop the sample documents in, show what became of them, keep serving.

    python -m workers.demo [--data FOLDER] [--once] [--svg FILE]

With ``--once`` it stops after the table; exit status 0 only if every sample came where the manifest expects it. ``--svg`` also saves a part of the table, a search
and an answer as a picture, as the README shows it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from workers.demo import show
from workers.demo.samples_manifest import SAMPLES, Manifest, Sample, load_manifest
from workers.settings import load_settings

START_SECONDS, WORK_SECONDS = 120.0, 900.0
REST = ("indexed", "review", "failed", "quarantined")
console = Console(width=int(os.environ.get("COLUMNS", 0)) or None, soft_wrap=False)


class Demo:
    """A running Mailroom and a client of its API."""

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings({"data.path": str(folder)}).settings
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(timeout=60, trust_env=False)

    def start(self) -> None:
        """`mailroom up` as a process of its own; waits until it answers."""
        run = self.settings.run_path
        (run / "api.json").unlink(missing_ok=True)
        log = self.settings.logs_path / "demo.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "workers.cli.main", "--data", str(self.settings.home), "up"]
        # One sample is cut off on purpose; nobody watching a demo waits ten minutes for its rest.
        environment = {"MAILROOM_TRAY__PATIENCE_SECONDS": "5", **os.environ}
        self._process = subprocess.Popen(
            command, stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"Mailroom did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        self.client.headers["Authorization"] = f"Bearer {self.key}"

    def stop(self) -> None:
        """Everything that was started ends."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def key(self) -> str:
        return (self.settings.run_path / "admin.key").read_text().strip()

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def get(self, path: str, **params: object) -> dict:
        """JSON of a GET; an error of ours ends the demo with its sentence."""
        answer = self.client.get(path, params=params)
        if answer.is_error:
            raise SystemExit(f"{path}: {answer.text}")
        return answer.json()

    def ask(self, question: str) -> dict:
        return self.client.post("/v1/ask", json={"question": question}).raise_for_status().json()

    def documents(self) -> dict[str, dict]:
        """All documents by revision."""
        return {each["content_hash"]: each for each in self.get("/v1/documents", limit=500)["items"]}

    def drop(self, samples: tuple[Sample, ...]) -> int:
        """Copy the samples that are not known yet into the tray, in their sub-folders; returns how many."""
        tray = self.settings.tray_path(self.settings.tray.folders[0])
        known, dropped = self.documents(), 0
        for sample in samples:
            if content_hash_of(sample) in known:
                continue
            target = tray / sample.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SAMPLES / sample.path, target)
            dropped += 1
        return dropped

    def _answers(self) -> bool:
        try:
            url = json.loads((self.settings.run_path / "api.json").read_text())["url"]
            self.client.base_url = url
            return self.client.get("/healthz").is_success
        except (OSError, ValueError, httpx.HTTPError):
            return False


@cache
def content_hash_of(sample: Sample) -> str:
    return hashlib.sha256((SAMPLES / sample.path).read_bytes()).hexdigest()


def wait_for(demo: Demo, samples: tuple[Sample, ...]) -> dict[str, dict]:
    """A live progress bar until every sample, and every attachment found in one, is at rest."""
    wanted = {content_hash_of(sample) for sample in samples}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    deadline = time.monotonic() + WORK_SECONDS
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("working", total=len(wanted))
        while True:
            documents = demo.documents()
            done = sum(documents.get(content_hash, {}).get("state") in REST for content_hash in wanted)
            progress.update(task, completed=done)
            moving = any(each["state"] == "processing" for each in documents.values())
            if done == len(wanted) and not moving:
                return documents
            if time.monotonic() > deadline or not demo.alive:
                return documents
            time.sleep(0.3)


def deliveries_done(demo: Demo) -> None:
    """Wait for the outbox, so that the table can say where each document went."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        waiting = [job for job in demo.get("/v1/jobs")["jobs"] if job["queue"] == "deliver" and job["state"] != "dead"]
        if not waiting:
            return
        time.sleep(0.3)


def run(demo: Demo, manifest: Manifest, once: bool, picture: Path | None = None) -> int:
    """The whole demonstration; returns the exit status."""
    console.print("Starting Mailroom ...")
    started = time.monotonic()
    demo.start()
    console.print(f"It answers at {demo.client.base_url} after {time.monotonic() - started:.1f} s.")
    dropped = demo.drop(manifest.samples)
    console.print(f"{dropped} sample documents dropped into {demo.settings.home / 'tray'}; the others are known.")
    documents = wait_for(demo, manifest.samples)
    deliveries_done(demo)
    as_expected = show.table(
        console, manifest.samples, documents, content_hash_of, lambda i: demo.get(f"/v1/documents/{i}/record")
    )
    for search in manifest.searches:
        show.search(console, search.query, demo.get("/v1/search", query=search.query, k=3))
    for question in manifest.questions:
        show.answer(console, demo.ask(question.question))
    if picture:
        show.save_picture(picture, console.width, lambda recorder: draw_extract(recorder, demo, manifest, documents))
    if not once:
        console.print(
            f"\nAPI      {demo.client.base_url}\nAPI key  {demo.key}\ntray     {demo.settings.home / 'tray'}",
            soft_wrap=True,
        )
        console.print("It goes on serving; Ctrl-C stops everything.")
        while demo.alive:
            time.sleep(0.5)
    states = [documents.get(content_hash_of(s), {}).get("state") for s in manifest.samples]
    summary = (
        f"demo: {len(states)} documents, {states.count('indexed')} routed, {states.count('review')} to review, "
        f"{states.count('failed') + states.count('quarantined')} failed, {as_expected} of {len(states)} as expected"
    )
    demo.stop()
    console.print(summary, soft_wrap=True)
    return 0 if as_expected == len(states) else 1


def draw_extract(recorder: Console, demo: Demo, manifest: Manifest, documents: dict[str, dict]) -> None:
    """Print every fourth row of the table, the first search and the first answer."""
    samples = manifest.samples[::4]
    show.table(recorder, samples, documents, content_hash_of, lambda i: demo.get(f"/v1/documents/{i}/record"))
    search, question = manifest.searches[0], manifest.questions[0]
    show.search(recorder, search.query, demo.get("/v1/search", query=search.query, k=3))
    show.answer(recorder, demo.ask(question.question))


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="save a part of the output as a picture")
    given = parser.parse_args()
    demo = Demo(given.data)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(demo, load_manifest(), given.once, given.svg)
    except KeyboardInterrupt:
        console.print("\nStopping ...")
        return 0
    finally:
        demo.stop()


if __name__ == "__main__":
    sys.exit(main())
