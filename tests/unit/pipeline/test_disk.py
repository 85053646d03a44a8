"""Locks between processes, durable writes, and the disk's errors as ours."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.disk import ProcessLock, is_full, locked, new_file, replacement, translated, write_durably
from pipeline.errors import Misconfigured, Refused, Unavailable

ROOT = Path(__file__).parents[3]


def other_process(path: Path) -> subprocess.Popen[str]:
    """Start a process that takes the lock, prints a line, and waits for its standard input to end."""
    code = (
        "import sys; from pathlib import Path; from pipeline.disk import ProcessLock\n"
        "lock = ProcessLock(Path(sys.argv[1]), 'Another'); lock.acquire(); print('taken', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "taken\n"
    return process


def test_a_process_lock_excludes_other_processes_until_its_owner_dies(tmp_path: Path) -> None:
    with other_process(tmp_path / "new" / "lock") as owner:
        lock = ProcessLock(tmp_path / "new" / "lock", "The sweeper")
        with pytest.raises(Refused, match=r"The sweeper is running already \(it holds .*lock\)") as refused:
            lock.acquire()
        assert refused.value.code == "conflict" and not lock.is_held
        owner.kill()
        owner.wait()
        lock.acquire()
        lock.acquire()  # it is held: nothing happens
        assert lock.is_held
        lock.release()
        lock.release()
        assert not lock.is_held


def test_a_process_lock_notices_that_its_folder_was_replaced(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "a" / "lock", "It")
    lock.acquire()
    (tmp_path / "a").rename(tmp_path / "b")
    assert not lock.is_held
    lock.acquire()
    assert lock.is_held and (tmp_path / "a" / "lock").exists()


def test_many_share_a_lock_and_one_waits_to_have_it_alone(tmp_path: Path) -> None:
    alone = threading.Event()

    def write() -> None:
        with locked(tmp_path / "lock"):
            alone.set()

    with locked(tmp_path / "lock", shared=True), locked(tmp_path / "lock", shared=True):
        writer = threading.Thread(target=write)
        writer.start()
        assert not alone.wait(0.1)
    writer.join(10)
    assert alone.is_set()


def test_a_new_file_replaces_nothing_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("link", "file"):
        (tmp_path / "file").touch()
        with pytest.raises(FileExistsError), new_file(tmp_path / name):
            pass
    assert not (tmp_path / "target").exists()


def test_what_fails_leaves_no_file_and_the_old_content(tmp_path: Path) -> None:
    write_durably(tmp_path / "kept", b"old")
    for write in (new_file, replacement):
        path = tmp_path / ("kept" if write is replacement else "fresh")
        with pytest.raises(RuntimeError), write(path) as file:
            file.write(b"half")
            raise RuntimeError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"kept": b"old"}


def test_a_replacement_appears_in_one_step(tmp_path: Path) -> None:
    write_durably(tmp_path / "file", b"old")
    with replacement(tmp_path / "file") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "file").read_bytes() == b"old"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"new"}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EIO, "no space, it claims"), False),
        (RuntimeError("write error: No space left on device"), True),
        (ValueError("database or disk is full"), True),
        (ValueError("malformed"), False),
        (None, False),
    ],
)
def test_recognises_a_full_disk(error: BaseException | None, expected: bool) -> None:
    assert is_full(error) is expected


def test_translates_the_disks_errors() -> None:
    with pytest.raises(Unavailable, match="The disk of the store is full") as unavailable, translated("the store"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert unavailable.value.code == "disk-full"
    with pytest.raises(Misconfigured, match=r"/x cannot be used: Permission denied\."), translated("the store"):
        raise PermissionError(errno.EACCES, "Permission denied", "/x")
    with pytest.raises(Refused, match="chosen"), translated("it", lambda error: Refused("conflict", "chosen")):
        raise OSError(errno.EIO, "Input/output error")
