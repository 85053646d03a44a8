"""`make demo`: start everything, drop the sample documents in, show what became of them, keep serving.

    python -m workers.demo [--data FOLDER] [--once] [--svg FILE]

With ``--once`` it stops after the table; the exit status is 0 only if every sample ended where the manifest expects it.
``--svg`` also saves a part of the table, a search and an answer as a picture, as the README shows it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from workers.demo import show
from workers.demo.samples_manifest import SAMPLES, Sample, SamplesManifest, load_manifest
from workers.private_files import restrict_new_files
from workers.services.first_key import KEY_FILE
from workers.settings import load_settings

START_SECONDS, WORK_SECONDS, DELIVERY_SECONDS, STOP_SECONDS = 120.0, 900.0, 30.0, 30.0
POLL_SECONDS = 0.3
TERMINAL = ("indexed", "review", "failed", "quarantined")
#: Folders of the samples that the picture shows.
PICTURED = ("finance/incoming/", "legal/", "inbox/")
console = Console(width=int(os.environ.get("COLUMNS", 0)) or None, soft_wrap=False, highlight=False)

Json = dict[str, Any]


class Demo:
    """A running Mailroom and a client of its API."""

    def __init__(self, folder: Path) -> None:
        self.settings = load_settings({"data.path": str(folder)}).settings
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(timeout=60, trust_env=False)

    def start(self) -> None:
        """Run `mailroom up` in a process of its own and wait until it answers. Raises SystemExit if it does not."""
        (self.settings.run_path / "api.json").unlink(missing_ok=True)
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

    def _answers(self) -> bool:
        try:
            self.client.base_url = json.loads((self.settings.run_path / "api.json").read_text())["url"]
            return self.client.get("/healthz").is_success
        except (OSError, ValueError, httpx.HTTPError):
            return False

    def stop(self) -> None:
        """End everything that was started."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def key(self) -> str:
        """The administrator's key of the first start."""
        return (self.settings.run_path / KEY_FILE).read_text().strip()

    @property
    def alive(self) -> bool:
        """Whether Mailroom still runs."""
        return self._process is not None and self._process.poll() is None

    def get(self, path: str, **params: str | int) -> Json:
        """Return the JSON of a GET. Raises SystemExit with the server's message on an error."""
        response = self.client.get(path, params=params)
        if response.is_error:
            raise SystemExit(f"{path}: {response.text}")
        content: Json = response.json()
        return content

    def ask(self, question: str) -> Json:
        """Return the answer to a question."""
        content: Json = self.client.post("/v1/ask", json={"question": question}).raise_for_status().json()
        return content

    def documents(self) -> dict[str, Json]:
        """Return all documents by path."""
        return {document["path"]: document for document in self.get("/v1/documents", limit=500)["items"]}

    def drop(self, samples: Sequence[Sample]) -> int:
        """Copy the samples that are not stored yet into the tray, in their folders; return how many."""
        tray = self.settings.tray_path(self.settings.tray.folders[0])
        stored = self.documents()
        new = [sample for sample in samples if sample.path not in stored]
        for sample in new:
            target = tray / sample.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SAMPLES / sample.path, target)
        return len(new)

    def wait_until_terminal(self, samples: Sequence[Sample]) -> dict[str, Json]:
        """Show a progress bar until every sample and attachment has ended; return the documents by path."""
        paths = {sample.path for sample in samples}
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        deadline = time.monotonic() + WORK_SECONDS
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("working", total=len(paths))
            while True:
                documents = self.documents()
                ended = sum(documents.get(path, {}).get("state") in TERMINAL for path in paths)
                progress.update(task, completed=ended)
                processing = any(document["state"] == "processing" for document in documents.values())
                if (ended == len(paths) and not processing) or time.monotonic() > deadline or not self.alive:
                    return documents
                time.sleep(POLL_SECONDS)

    def wait_for_deliveries(self) -> None:
        """Wait until the outbox is empty, so that the table shows where each document went."""
        deadline = time.monotonic() + DELIVERY_SECONDS
        while time.monotonic() < deadline:
            if not any(job["queue"] == "deliver" and job["state"] != "dead" for job in self.get("/v1/jobs")["jobs"]):
                return
            time.sleep(POLL_SECONDS)

    def outcomes(self, samples: Sequence[Sample], documents: Mapping[str, Json]) -> list[show.SampleOutcome]:
        """Return what became of each sample."""
        pairs = ((sample, documents.get(sample.path)) for sample in samples)
        return [show.SampleOutcome(sample, document, self._receipts(document)) for sample, document in pairs]

    def _receipts(self, document: Json | None) -> list[str]:
        """Return the places that a document was delivered to."""
        if document is None:
            return []
        events = self.get(f"/v1/documents/{document['id']}/record")["events"]
        deliveries = [event["data"] for event in events if (event["stage"], event["event"]) == ("deliver", "done")]
        return [data["receipt"] for data in deliveries if data.get("receipt")]


def run(demo: Demo, manifest: SamplesManifest, once: bool, picture: Path | None = None) -> int:
    """Run the whole demonstration; return the exit status."""
    console.print("Starting Mailroom ...")
    started = time.monotonic()
    demo.start()
    console.print(f"It answers at {demo.client.base_url} after {time.monotonic() - started:.1f} s.")
    new = demo.drop(manifest.samples)
    console.print(f"{new} of {len(manifest.samples)} sample documents are new and dropped into the tray.")
    documents = demo.wait_until_terminal(manifest.samples)
    demo.wait_for_deliveries()
    outcomes = demo.outcomes(manifest.samples, documents)
    console.print()
    show.table(console, outcomes)
    show.types(console, outcomes)
    for search in manifest.searches:
        show.search(console, search.query, demo.get("/v1/search", query=search.query, k=3))
    for question in manifest.questions:
        show.answer(console, demo.ask(question.question))
    if picture:
        show.save_picture(picture, console.width, lambda recorder: draw_extract(recorder, demo, manifest, outcomes))
    if not once:
        places = (
            f"API      {demo.client.base_url}",
            f"API key  in {demo.settings.run_path / KEY_FILE}",
            f"tray     {demo.settings.home / 'tray'}",
        )
        console.print("\n" + "\n".join(places), soft_wrap=True)
        console.print("It goes on serving; Ctrl-C stops everything.")
        while demo.alive:
            time.sleep(0.5)
    demo.stop()
    states = [outcome.document["state"] if outcome.document else "" for outcome in outcomes]
    expected = sum(outcome.expected for outcome in outcomes)
    console.print(
        f"\ndemo: {len(states)} documents, {states.count('indexed')} routed, {states.count('review')} to review, "
        f"{states.count('failed') + states.count('quarantined')} failed, {expected} of {len(states)} as expected",
        soft_wrap=True,
    )
    return 0 if expected == len(states) else 1


def draw_extract(
    recorder: Console, demo: Demo, manifest: SamplesManifest, outcomes: Sequence[show.SampleOutcome]
) -> None:
    """Print the table of a few folders, the first search and the first answer."""
    show.table(recorder, [outcome for outcome in outcomes if outcome.sample.path.startswith(PICTURED)])
    search, question = manifest.searches[0], manifest.questions[0]
    show.search(recorder, search.query, demo.get("/v1/search", query=search.query, k=3))
    show.answer(recorder, demo.ask(question.question))


def main() -> int:
    """Read the command line, run the demonstration and stop what it started."""
    parser = argparse.ArgumentParser(prog="make demo")
    parser.add_argument("--data", type=Path, default=Path("data/demo"))
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="save a part of the output as a picture")
    arguments = parser.parse_args()
    restrict_new_files()
    demo = Demo(arguments.data)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(demo, load_manifest(), arguments.once, arguments.svg)
    except KeyboardInterrupt:
        console.print("\nStopping ...")
        return 0
    finally:
        demo.stop()


if __name__ == "__main__":
    sys.exit(main())
