"""The tray over a real catalogue and blob store: which files are received, when, and which are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.documents import Document, State
from pipeline.faults import arm
from pipeline.questions import ADMINISTRATOR, Filters
from workers.assemble import Mailroom
from workers.settings import Settings, load_settings
from workers.tray.completeness import is_open_for_writing, needs_polling
from workers.tray.tray import CLAIMS, Tray

STABLE = 0.1
ROOT = Path(__file__).parents[3]
TEXT = b"Dear colleagues, the delivery will arrive on Monday.\n"
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"
SUBFOLDERS = '[{"subfolders": {"hr": {"labels": ["personnel"], "access": ["group:hr"]}, "hr/open": {"access": ["*"]}}}]'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    overrides = {
        "data.path": str(tmp_path / "data"),
        "tray.stable_seconds": str(STABLE),
        "tray.patience_seconds": "2",
        "tray.folders": SUBFOLDERS,
        "broker.url": f"redis+socket://{tmp_path}/no-broker.sock",  # the tray must not need a broker
        "api.upload_max_bytes": "100000",
    }
    return load_settings(overrides, environ={}).settings


@pytest.fixture
def mailroom(settings: Settings) -> Iterator[Mailroom]:
    mailroom = Mailroom(settings)
    yield mailroom
    arm("")
    mailroom.close()


@pytest.fixture
def tray(mailroom: Mailroom) -> Tray:
    return mailroom.tray(mailroom.settings.tray.folders[0])


def scan_twice(tray: Tray, seconds: float = STABLE * 1.5) -> int:
    """Scan, wait and scan again; return how many files were received."""
    first = tray.scan()
    time.sleep(seconds)
    return first + tray.scan()


def arrived(mailroom: Mailroom) -> dict[str, Document]:
    return {d.path: d for d in mailroom.catalogue.documents.find(ADMINISTRATOR, Filters())[0]}


def test_a_stable_file_is_received_and_deleted(mailroom: Mailroom, tray: Tray) -> None:
    (tray.root / "a.txt").write_bytes(TEXT)
    assert tray.scan() == 0
    assert scan_twice(tray) == 1
    document = arrived(mailroom)["a.txt"]
    with mailroom.blobs.open(document.content_hash) as stored:
        assert stored.read() == TEXT
    assert not (tray.root / "a.txt").exists()
    assert list((tray.root / CLAIMS).iterdir()) == []


def test_a_growing_file_waits(mailroom: Mailroom, tray: Tray) -> None:
    with (tray.root / "slow.txt").open("wb") as file:
        for _ in range(4):
            file.write(TEXT)
            file.flush()
            assert scan_twice(tray, STABLE / 2) == 0
        # Unchanged for long enough, and still open for writing.
        assert scan_twice(tray) == 0
    assert scan_twice(tray) == 1
    assert next(iter(arrived(mailroom).values())).size == 4 * len(TEXT)


def test_an_incomplete_file_waits_until_it_is_complete(mailroom: Mailroom, tray: Tray) -> None:
    path = tray.root / "half.pdf"
    path.write_bytes(PDF)
    assert scan_twice(tray) == 0
    with path.open("ab") as file:
        file.write(b"startxref\n0\n%%EOF\n")
    assert scan_twice(tray) == 1
    assert arrived(mailroom)["half.pdf"].size == len(PDF) + 18


def test_a_file_that_stays_incomplete_or_empty_is_taken_as_it_is(mailroom: Mailroom, tray: Tray) -> None:
    (tray.root / "broken.pdf").write_bytes(PDF)
    (tray.root / "empty.txt").touch()
    assert scan_twice(tray) == 0
    assert scan_twice(tray, STABLE * 11) == 2
    assert set(arrived(mailroom)) == {"broken.pdf", "empty.txt"}


def test_files_that_are_not_documents_are_left_alone(mailroom: Mailroom, tray: Tray, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(TEXT)
    (tray.root / "link.txt").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(tray.root / "pipe.txt")
    for name in (".hidden.txt", "~$letter.docx", "video.part", "x.tmp", "y.crdownload", ".~lock.a.odt#"):
        (tray.root / name).write_bytes(TEXT)
    (tray.root / "folder.pdf").mkdir()
    (tray.root / "failed" / "old.txt").write_bytes(TEXT)
    assert scan_twice(tray) == 0
    assert arrived(mailroom) == {}


@pytest.mark.parametrize(
    "name", [b"two\nlines.txt", b"x" * 251 + b".txt", b"caf\xe9.txt", "caf\u0065\u0301.txt".encode()]
)
def test_strange_names_are_received(mailroom: Mailroom, tray: Tray, name: bytes) -> None:
    with open(os.path.join(os.fsencode(tray.root), name), "wb") as file:  # noqa: PTH118, PTH123 (bytes)
        file.write(TEXT)
    assert scan_twice(tray) == 1
    (path,) = arrived(mailroom)
    path.encode("utf-8")
    assert path.isprintable()


def test_subfolders_give_labels_and_access(mailroom: Mailroom, tray: Tray) -> None:
    for number, place in enumerate(("top.txt", "other/b.txt", "hr/c.txt", "hr/deep/d.txt", "hr/open/e.txt")):
        path = tray.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TEXT * (number + 1))
    assert scan_twice(tray) == 5
    received = {path: (d.access, d.labels) for path, d in arrived(mailroom).items()}
    assert received == {
        "top.txt": (("*",), ()),
        "other/b.txt": (("*",), ()),
        "hr/c.txt": (("group:hr",), ("personnel",)),
        "hr/deep/d.txt": (("group:hr",), ("personnel",)),
        "hr/open/e.txt": (("*",), ("personnel",)),
    }


def test_the_same_name_twice_is_two_documents_and_the_same_content_one(mailroom: Mailroom, tray: Tray) -> None:
    for content in (TEXT, TEXT * 2, TEXT):
        (tray.root / "a.txt").write_bytes(content)
        assert scan_twice(tray) == 1
    documents, total = mailroom.catalogue.documents.find(ADMINISTRATOR, Filters())
    assert total == 2
    first = next(d for d in documents if d.size == len(TEXT))
    assert len(mailroom.catalogue.documents.history(first.id)[0]) == 2


def test_too_large_goes_to_failed_with_a_reason(mailroom: Mailroom, tray: Tray) -> None:
    (tray.root / "large.txt").write_bytes(b"x" * 200_000)
    assert scan_twice(tray) == 0
    assert (tray.root / "failed" / "large.txt").stat().st_size == 200_000
    assert "code: too-large" in (tray.root / "failed" / "large.txt.reason.txt").read_text()
    assert arrived(mailroom) == {}


def test_a_full_disk_is_waited_out(mailroom: Mailroom, tray: Tray, monkeypatch: pytest.MonkeyPatch) -> None:
    (tray.root / "a.txt").write_bytes(TEXT)
    arm("tray.stored:eio")
    assert scan_twice(tray) == 0
    assert [p.read_bytes() for p in (tray.root / CLAIMS).iterdir() if p.suffix != ".path"] == [TEXT]
    arm("")
    monkeypatch.setattr(tray, "_retry_at", 0.0)
    assert tray.recover() == 1
    assert set(arrived(mailroom)) == {"a.txt"}


@pytest.mark.parametrize("point", ["tray.claimed", "tray.stored", "tray.received"])
def test_a_crash_at_any_point_loses_and_repeats_nothing(mailroom: Mailroom, point: str) -> None:
    """Given a process that claims the file and is killed, the next one finishes its claims."""
    root = mailroom.settings.tray_path(mailroom.settings.tray.folders[0])
    (root / "hr").mkdir(parents=True)
    (root / "hr" / "a.txt").write_bytes(TEXT)
    code = (
        "import sys, time; from pathlib import Path; from pipeline.faults import arm;"
        "from workers.assemble import Mailroom;"
        "from workers.settings import Settings; from workers.tray.tray import Tray;"
        "mailroom = Mailroom(Settings.model_validate_json(sys.argv[1])); arm(sys.argv[2]);"
        "tray = mailroom.tray(mailroom.settings.tray.folders[0]); tray.scan(); time.sleep(0.2); tray.scan()"
    )
    command = [sys.executable, "-c", code, mailroom.settings.model_dump_json(), f"{point}:kill"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    tray = mailroom.tray(mailroom.settings.tray.folders[0])
    assert tray.recover() == 1
    documents = arrived(mailroom)
    assert {path: (d.access, d.size) for path, d in documents.items()} == {"hr/a.txt": (("group:hr",), len(TEXT))}
    assert list((tray.root / CLAIMS).iterdir()) == []
    assert len(mailroom.catalogue.jobs.due("ingest")) == 1


def test_a_file_that_changes_while_it_is_read_goes_back(
    mailroom: Mailroom, tray: Tray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tray.root / "a.txt").write_bytes(TEXT)
    put = mailroom.blobs.put

    def put_and_change(stream, limit):
        (claim,) = [p for p in (tray.root / CLAIMS).iterdir() if p.suffix != ".path"]
        stored = put(stream, limit)
        with claim.open("ab") as file:
            file.write(b"more")
        return stored

    monkeypatch.setattr(mailroom.blobs, "put", put_and_change)
    assert scan_twice(tray) == 0
    assert (tray.root / "a.txt").read_bytes() == TEXT + b"more"
    assert arrived(mailroom) == {}
    monkeypatch.setattr(mailroom.blobs, "put", put)
    assert scan_twice(tray) == 1


def test_a_failed_content_dropped_in_again_is_tried_again(mailroom: Mailroom, tray: Tray) -> None:
    (tray.root / "a.txt").write_bytes(TEXT)
    assert scan_twice(tray) == 1
    (job,) = mailroom.catalogue.jobs.claim("ingest", "test", 60)
    from pipeline.documents import Outcome

    mailroom.catalogue.jobs.commit(job, Outcome("parse", state=State.FAILED, reason="damaged"))
    (tray.root / "a.txt").write_bytes(TEXT)
    assert scan_twice(tray) == 1
    assert arrived(mailroom)["a.txt"].state is State.PROCESSING


def test_the_kernel_reports_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(TEXT)
    assert is_open_for_writing(path) in (False, None)
    with path.open("ab"):
        assert is_open_for_writing(path) in (True, None)


def test_a_local_folder_needs_no_polling(tmp_path: Path) -> None:
    assert needs_polling(tmp_path) is False


@pytest.mark.parametrize("size", [1, 200_000], ids=["received", "too large"])
def test_a_hard_link_is_copied(mailroom: Mailroom, tray: Tray, tmp_path: Path, size: int) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(TEXT * (size // len(TEXT) + 1))
    other.chmod(0o644)
    (tray.root / "linked.txt").hardlink_to(other)
    scan_twice(tray)
    assert not (tray.root / "linked.txt").exists()
    assert (other.stat().st_nlink, other.stat().st_mode & 0o777) == (1, 0o644)
    assert ("linked.txt" in arrived(mailroom)) == (size == 1)
    if size > 1:
        assert (tray.root / "failed" / "linked.txt").stat().st_ino != other.stat().st_ino


def test_a_copy_of_a_hard_link_is_made_again_after_a_crash(mailroom: Mailroom, tray: Tray, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(TEXT)
    claim = tray.root / CLAIMS / "abc"
    claim.hardlink_to(other)
    claim.with_suffix(".path").write_text("hr/linked.txt")
    claim.with_name(".abc").write_bytes(b"half of")
    assert tray.recover() == 1
    assert "hr/linked.txt" in arrived(mailroom)
    assert list((tray.root / CLAIMS).iterdir()) == []
