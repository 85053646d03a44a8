"""An erasure leaves nothing: not in a file, not in a database, not in an index."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.canaries import Canary, canaries, remaining
from tests.support.installation import ROOT, Installation

SEED = 20261129
#: Files that are taken in; two of three are erased.
COUNT = int(os.environ.get("CANARIES", "18"))


def put_in_tray(installation: Installation, files: list[Canary]) -> None:
    for file in files:
        target = installation.tray / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = installation.folder / "part"
        part.write_bytes(file.content)
        part.rename(target)


def await_documents(api: httpx.Client, count: int, seconds: float = 240) -> list[dict[str, Any]]:
    """Wait until this many documents have ended and nothing is waiting; return them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        documents = api.get("/v1/documents", params={"limit": 500}).json()["items"]
        jobs = api.get("/v1/jobs").json()
        if len(documents) >= count and all(d["state"] != "processing" for d in documents) and not waiting(jobs):
            return documents
        time.sleep(0.3)
    raise AssertionError(f"{count} documents did not end: {jobs}")


def waiting(jobs: dict[str, Any]) -> int:
    return sum(row["count"] for row in jobs["jobs"] if row["state"] != "dead")


def await_receipt(api: httpx.Client, place: str, seconds: float = 60) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        erasure = api.get(place).json()
        if erasure["receipt"]:
            return erasure["receipt"]
        time.sleep(0.2)
    raise AssertionError(f"no receipt: {erasure}")


def test_no_word_of_an_erased_document_is_left_in_any_file_or_in_a_restored_backup(tmp_path: Path) -> None:
    """Take in CANARIES files, erase two thirds, and search for their words everywhere; `make canaries` takes 200."""
    files = canaries(COUNT, SEED)
    erased, others = files[: COUNT * 2 // 3], files[COUNT * 2 // 3 :]
    words, others_words = ({word for file in part for word in file.words} for part in (erased, others))
    with Installation(tmp_path / "data") as installation, installation.client() as api:
        put_in_tray(installation, files)
        attachments = sum(file.name.endswith(".eml") for file in files)
        documents = await_documents(api, len(files) + attachments, seconds=60 + 10 * COUNT)
        assert set(remaining(installation.folder, words)) == words  # otherwise the search proves nothing
        run(installation, "backup", str(tmp_path / "backup"))
        names = {file.name for file in erased}
        ids = [document["id"] for document in documents if document["path"] in names and not document["parent"]]
        started = time.monotonic()
        places = [api.delete(f"/v1/documents/{document_id}").headers["Location"] for document_id in ids]
        receipts = [await_receipt(api, place, seconds=60 + 2 * COUNT) for place in places]
        seconds = time.monotonic() - started
        assert remaining(installation.folder, words) == {}
        mails = sum(file.name.endswith(".eml") for file in erased)
        assert sum(len(receipt["documents"]) for receipt in receipts) == len(erased) + mails
        assert sum(receipt["removed"]["filed copies"] for receipt in receipts) > 0
        assert sum(receipt["removed"]["failed copies"] for receipt in receipts) == len(erased) // 6
        assert not words & set(json.dumps(receipts).split('"'))
        assert set(remaining(installation.folder, others_words)) == others_words
    restored = Installation(tmp_path / "restored")
    run(restored, "restore", "--yes", str(tmp_path / "backup"))
    assert remaining(restored.folder, words) == {}
    again = set(remaining(restored.folder, others_words))
    print(f"{COUNT} files, {len(erased)} erased, {len(words)} words: 0 left; {seconds:.1f} s to the last receipt")
    assert again == others_words


def run(installation: Installation, *command: str) -> None:
    """Run a command of the command line on an installation's data folder."""
    arguments = [sys.executable, "-m", "workers.cli.main", "--data", str(installation.folder), *command]
    subprocess.run(arguments, cwd=ROOT, check=True, timeout=300, capture_output=True)
