"""Generations: published whole, followed by readers, never trusted without their digests."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from indexes import compaction, integrity
from indexes import generations as gen
from indexes.compaction import MANY
from indexes.reader import FolderReader
from indexes.vectors import segments
from indexes.vectors.kinds import KINDS
from indexes.writer import FolderWriter
from pipeline.documents import Chunk
from pipeline.errors import Misconfigured, Refused, Unavailable
from pipeline.query import parse

ROOT = Path(__file__).parents[3]
DIMENSION = 8


def vector(number: int) -> np.ndarray:
    rows = np.random.default_rng(number).normal(size=(1, DIMENSION)).astype(np.float32)
    return rows / np.linalg.norm(rows)


def add(writer: FolderWriter, number: int, text: str | None = None) -> None:
    text = text or f"document number{number} of the test"
    writer.add(number, [Chunk(0, text, 0, len(text))], vector(number), None, f"{number}.txt")


def fresh(reader: FolderReader):
    time.sleep(0.11)
    return reader.snapshot()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_before_the_first_generation_nothing_is_found(root: Path) -> None:
    snapshot = FolderReader(root).snapshot()
    assert (len(snapshot.vectors), snapshot.lexical.search(parse("word"), 5, None)) == (0, [])


def test_a_reader_follows_and_an_open_snapshot_stays(root: Path) -> None:
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    add(writer, 1)
    writer.publish()
    earlier = fresh(reader)
    add(writer, 2)
    writer.remove(1)
    writer.publish()
    new = fresh(reader)
    assert earlier.numbers == {1} and new.numbers == {2}
    assert [h.document_number for h in earlier.vectors.search(vector(1)[0], 5, None)] == [1]
    assert [h.document_number for h in earlier.lexical.search(parse("number1"), 5, None)] == [1]
    assert [h.document_number for h in new.vectors.search(vector(1)[0], 5, None)] == [2]
    assert new.lexical.search(parse("number1"), 5, None) == []


def test_a_replaced_document_is_held_once(root: Path) -> None:
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    add(writer, 1, "the old wording")
    writer.publish()
    add(writer, 1, "the new phrase")
    writer.publish()
    snapshot = fresh(reader)
    assert len(snapshot.vectors) == 1
    assert snapshot.lexical.search(parse("old"), 5, None) == []
    assert len(snapshot.lexical.search(parse("phrase"), 5, None)) == 1


def test_many_small_publications_keep_few_segments_and_every_document(root: Path) -> None:
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    for number in range(1, 41):
        add(writer, number)
        writer.publish()
    manifest = gen.read_manifest(gen.current(root))
    assert len(manifest.segments) <= MANY + 1
    assert fresh(reader).numbers == set(range(1, 41))
    assert len(gen.generations(root)) == gen.KEPT


def test_a_second_writer_is_refused(root: Path) -> None:
    writer = FolderWriter(root, "E", DIMENSION)
    with pytest.raises(Refused, match="conflict"):
        FolderWriter(root, "E", DIMENSION)
    writer.close()


def test_a_writer_resumes_where_the_last_one_stopped(root: Path) -> None:
    first = FolderWriter(root, "E", DIMENSION)
    add(first, 1)
    first.publish()
    add(first, 2)  # never published: lost with the process, kept by the catalogue
    first.close()
    second = FolderWriter(root, "E", DIMENSION)
    assert not second.rebuild_needed and second.numbers == {1}
    add(second, 3)
    second.publish()
    assert fresh(FolderReader(root)).numbers == {1, 3}


def test_another_embedding_model_asks_for_a_rebuild(root: Path) -> None:
    first = FolderWriter(root, "E", DIMENSION)
    add(first, 1)
    first.publish()
    first.close()
    assert FolderWriter(root, "F", DIMENSION).rebuild_needed


def test_any_damaged_file_is_detected_and_never_served(root: Path) -> None:
    """Truncate a file or flip one bit: an older generation is searched, reported as stale, and resumed from."""
    writer = FolderWriter(root, "E", DIMENSION)
    add(writer, 1)
    writer.publish()
    add(writer, 2)
    writer.publish()
    writer.close()
    folder, rng = gen.current(root), random.Random(3)
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size):
        whole = path.read_bytes()
        for damage in (whole[: rng.randrange(len(whole))], *(_flipped(whole, rng) for _ in range(3))):
            path.unlink()  # hard links: the other generations keep the whole file
            path.write_bytes(damage)
            reader = FolderReader(root)
            snapshot = reader.snapshot()
            assert reader.stale and snapshot.numbers == {1}, path.name
            resumed = FolderWriter(root, "E", DIMENSION)
            assert resumed.numbers == {1} and not resumed.rebuild_needed, path.name
            resumed.close()
            path.write_bytes(whole)
    assert FolderReader(root).snapshot().numbers == {1, 2}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hnsw-sq8"])
def test_every_byte_counts_in_the_files_of_a_large_segment(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "kind_for", lambda rows, large: kind)
    writer = FolderWriter(root, "E", DIMENSION)
    for number in range(1, 65):
        add(writer, number)
    writer.publish()
    writer.close()
    assert [e.kind for e in gen.read_manifest(gen.current(root)).segments] == [kind]
    rng = random.Random(5)
    for path in sorted((gen.current(root) / "vectors").iterdir()):
        whole = path.read_bytes()
        for _ in range(20):
            path.write_bytes(_flipped(whole, rng))
            assert len(FolderReader(root).snapshot().vectors) == 0, path.name
        path.write_bytes(whole)
    assert len(FolderReader(root).snapshot().vectors) == 64


def test_every_bit_of_current_counts(root: Path) -> None:
    writer = FolderWriter(root, "E", DIMENSION)
    for number in (1, 2, 3):
        add(writer, number)
        writer.publish()
    writer.close()
    whole = (root / "CURRENT").read_bytes().strip()
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << (at % 8)
        (root / "CURRENT").write_bytes(bytes(flipped))
        reader = FolderReader(root)
        assert reader.snapshot().numbers == {1, 2, 3} and reader.stale


def test_an_open_reader_verifies_the_copies_of_a_new_writer(root: Path) -> None:
    first = FolderWriter(root, "E", DIMENSION)
    add(first, 1)
    first.publish()
    reader = FolderReader(root)
    reader.snapshot()
    checked = {p.name for p in (gen.current(root) / "lexical").iterdir()}
    first.close()
    second = FolderWriter(root, "E", DIMENSION)
    add(second, 2)
    second.publish()
    second.close()
    copy = next(p for p in (gen.current(root) / "lexical").glob("*.fieldnorm") if p.name in checked)
    whole = copy.read_bytes()
    copy.unlink()  # a link of the writer's working copy: other bytes than the reader has checked
    copy.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert fresh(reader).numbers == {1} and reader.stale


@pytest.mark.parametrize("suffix", [".f32", ".npy", ".term"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_file_that_is_altered_while_open_is_no_longer_served(
    root: Path, suffix: str, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Write in place: that alters it in every generation that links it, while reader and writer have it open."""
    monkeypatch.setattr("indexes.reader.CHECK_SECONDS", 0.0)
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    add(writer, 1)
    writer.publish()
    assert reader.snapshot().numbers == {1} and writer.damage is None
    file = next(p for p in sorted(gen.current(root).rglob(f"*{suffix}")) if p.stat().st_size)
    whole = file.read_bytes()
    with file.open("r+b") as opened:
        if cut:
            opened.truncate(len(whole) // 2)
        else:
            opened.write(bytes([whole[0] ^ 1]))
    os.utime(file, ns=(1, 1))  # a clock too coarse to tell the two times apart would hide it here
    assert fresh(reader).numbers == set() and reader.stale
    assert writer.damage == file.relative_to(gen.current(root)).as_posix()
    add(writer, 2)
    with pytest.raises(Unavailable):
        writer.publish()
    assert writer.rebuild_needed
    for number in (1, 2):
        add(writer, number)
    writer.publish()
    reader._retry_at = 0.0
    assert fresh(reader).numbers == {1, 2} and not reader.stale


@pytest.mark.parametrize("content", [None, b"", b"../../elsewhere", b"\xff\xfe", "²".encode()])
def test_an_unusable_current_is_reported_and_repaired_without_a_rebuild(root: Path, content: bytes | None) -> None:
    writer = FolderWriter(root, "E", DIMENSION)
    add(writer, 1)
    writer.publish()
    writer.close()
    if content is None:
        (root / "CURRENT").unlink()
    else:
        (root / "CURRENT").write_bytes(content)
    reader = FolderReader(root)
    assert reader.snapshot().numbers == {1} and reader.stale
    again = FolderWriter(root, "E", DIMENSION)
    assert not again.rebuild_needed and again.numbers == {1}
    assert again.publish()
    mended = FolderReader(root)
    assert mended.snapshot().numbers == {1} and not mended.stale


def test_a_generation_that_could_not_be_opened_is_tried_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("indexes.reader.FIRST_PAUSE", 0.0)
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    add(writer, 1)
    writer.publish()
    reader.snapshot()
    add(writer, 2)
    writer.publish()
    with monkeypatch.context() as broken:
        broken.setattr(integrity, "file_digest", lambda file: _raise(OSError(24, "Too many open files")))
        assert fresh(reader).numbers == {1} and reader.stale
    reader._retry_at = 0.0
    assert fresh(reader).numbers == {1, 2} and not reader.stale


def _raise(error: Exception) -> str:
    raise error


def test_a_document_without_vectors_is_found_by_its_words(root: Path) -> None:
    writer = FolderWriter(root, "E", DIMENSION)
    writer.add(1, [Chunk(0, "words alone", 0, 11)], None)
    add(writer, 2)
    writer.publish()
    writer.close()
    snapshot = FolderReader(root).snapshot()
    assert [h.document_number for h in snapshot.lexical.search(parse("alone"), 5, None)] == [1]
    assert snapshot.numbers == {1, 2} and snapshot.without_vectors == 1 and len(snapshot.vectors) == 1
    again = FolderWriter(root, "E", DIMENSION)
    assert again.numbers == {1, 2} and again.without_vectors == {1}
    add(again, 1)
    again.publish()
    assert again.without_vectors == frozenset() and len(FolderReader(root).snapshot().vectors) == 2


def test_segments_are_merged_during_additions_and_removals(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a limit of 8 rows, so that every merge runs in the background."""
    monkeypatch.setattr(compaction, "EXACT_ROWS", 8)
    monkeypatch.setattr(segments, "kind_for", lambda rows, large: "exact" if rows <= 8 else "ivf-rabitq")
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    for number in range(1, 61):
        add(writer, number)
        if number % 3 == 0:
            writer.remove(number - 1)
        if number % 10 == 0:
            add(writer, 1)  # replaced while its segment may be merged
        writer.publish()
    writer._compaction and writer._compaction.wait()
    writer.publish()
    expected = set(range(1, 61)) - set(range(2, 60, 3))
    kinds = {entry.kind for entry in gen.read_manifest(gen.current(root)).segments}
    assert "ivf-rabitq" in kinds and len(gen.read_manifest(gen.current(root)).segments) <= 12
    snapshot = fresh(reader)
    assert snapshot.numbers == expected == writer.numbers and len(snapshot.vectors) == len(expected)
    for number in sorted(expected):
        assert snapshot.vectors.search(vector(number)[0], 1, None)[0].document_number == number
    writer.close()
    assert not (root / "compacting").exists()


def _flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


def test_a_path_out_of_the_generation_is_refused(root: Path) -> None:
    manifest = gen.Manifest("1", 0.0, "E", 1, 0, 0, (), {"../../secret": ("0" * 64, 1)})
    with pytest.raises(Misconfigured):
        integrity.VerifiedFiles().verify(root, manifest.files)


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.unit.indexes.test_generations import DIMENSION, add
from indexes.writer import FolderWriter
writer = FolderWriter(Path(sys.argv[1]), "E", DIMENSION)
number = max(writer.numbers, default=0)
while True:
    number += 1
    add(writer, number)
    writer.publish()
    print(number, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_a_good_generation(root: Path) -> None:
    rng = random.Random(1)
    for _ in range(8):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        acknowledged = int(child.stdout.readline())
        time.sleep(rng.uniform(0, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split())])
        child.wait()
        reader = FolderReader(root)
        snapshot = reader.snapshot()
        assert not reader.stale
        assert snapshot.numbers >= set(range(1, acknowledged + 1))
        assert len(snapshot.vectors) == len(snapshot.lexical) == len(snapshot.numbers)


def test_searching_while_writing_never_fails_or_finds_a_wrong_id(root: Path) -> None:
    writer, reader = FolderWriter(root, "E", DIMENSION), FolderReader(root)
    add(writer, 1)
    writer.publish()
    over, wrong = threading.Event(), []

    def search() -> None:
        while not over.is_set():
            snapshot = reader.snapshot()
            try:
                hit = snapshot.vectors.search(vector(1)[0], 1, None)[0]
                if hit.document_number != 1 or not snapshot.lexical.search(parse("document"), 5, None):
                    wrong.append(hit)
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    until, number = time.monotonic() + 3, 1
    while time.monotonic() < until:
        number += 1
        add(writer, number)
        if number % 3 == 0:
            writer.remove(number - 1)
        writer.publish()
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
