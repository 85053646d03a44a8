"""The port Blobs: its specification in memory, and a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from indexes.open import open_blobs
from pipeline.errors import Misconfigured, Refused
from pipeline.ports import Blobs
from tests.support.memory_blobs import MemoryBlobs


@pytest.fixture(params=["memory", "folder"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return MemoryBlobs() if request.param == "memory" else open_blobs(f"folder:{tmp_path / 'blobs'}")


@pytest.mark.parametrize("pieces", [[], [b"one"], [b"one", b"", b"two"], [b"x" * 100_000] * 3])
def test_bytes_come_back_under_their_digest(blobs: Blobs, pieces: list[bytes]) -> None:
    digest, size = blobs.put(iter(pieces), 1 << 20)
    assert (digest, size) == (hashlib.sha256(b"".join(pieces)).hexdigest(), sum(map(len, pieces)))
    with blobs.open(digest) as content:
        assert content.read() == b"".join(pieces)


def test_the_same_bytes_are_stored_once_however_many_callers_put_them(blobs: Blobs) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: blobs.put([b"same"], 10)[0], range(8)))
    assert set(blobs.digests()) == digests and len(digests) == 1


def test_a_stream_over_the_limit_leaves_nothing_behind(blobs: Blobs, tmp_path: Path) -> None:
    assert blobs.put([b"12345"], 5)[1] == 5
    with pytest.raises(Refused, match="upload-too-large"):
        blobs.put([b"123", b"456"], 5)
    assert len(list(blobs.digests())) == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) <= 1


def test_a_stream_that_breaks_leaves_nothing_behind(blobs: Blobs, tmp_path: Path) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError

    with pytest.raises(Exception):  # noqa: B017 - the sender's error, or its translation
        blobs.put(breaking(), 100)
    assert list(blobs.digests()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_deleted_blob_is_absent(blobs: Blobs) -> None:
    digest, _ = blobs.put([b"gone"], 10)
    blobs.delete(digest)
    blobs.delete(digest)
    with pytest.raises(KeyError):
        blobs.open(digest)
    with pytest.raises(KeyError):
        blobs.open("../../etc/passwd")


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    open_blobs(f"folder:{tmp_path / 'b'}").put([b"x"], 10)
    assert [path.stat().st_mode & 0o077 for path in tmp_path.rglob("*") if path.is_file()] == [0]


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="bad-store"):
        open_blobs(f"folder:{tmp_path / 'file'}")
    with pytest.raises(Misconfigured, match="bad-settings"):
        open_blobs("ftp://x")
