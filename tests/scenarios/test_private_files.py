"""An installation started with umask 000; rubbish in its queues' lists, and other files for its broker."""

from __future__ import annotations

import json
import os
import random
import stat
import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.running import Running, letters, wait_for
from workers.queue.broker import PREFIX, QUEUES

#: What the test itself puts into the data folder.
OURS = ("up.log", "outside")


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    before = os.umask(0)
    try:
        with Running(tmp_path_factory.mktemp("mailroom") / "data", tray__patience_seconds="1") as running:
            yield running
    finally:
        os.umask(before)


def open_to_others(home: Path) -> dict[str, str]:
    """Return what others than the owner could open, with its permissions."""
    modes = {}
    for folder, folders, names in os.walk(home):
        for path in (Path(folder) / name for name in (*folders, *names)):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077 and path.name not in OURS:
                modes[str(path.relative_to(home))] = oct(stat.S_IMODE(mode))
    return modes


def test_nobody_else_can_open_anything(mailroom: Running) -> None:
    texts = letters("private", 3)
    mailroom.drop({**texts, "broken.pdf": "%PDF-1.7\nnothing more"})
    mailroom.await_all({*texts, "broken.pdf"})
    command = ["-m", "workers.cli.main", "--data", str(mailroom.home), "add", __file__]
    subprocess.run([sys.executable, *command], check=True, timeout=60, capture_output=True)
    mailroom.await_all({Path(__file__).name})
    wait_for(lambda: any((mailroom.tray / "failed").glob("*.reason.txt")), 60, "the failed copy", mailroom)
    wait_for(lambda: any((mailroom.home / "index" / "generations").iterdir()), 60, "the index", mailroom)
    assert stat.S_IMODE(mailroom.home.stat().st_mode) == 0o700
    assert open_to_others(mailroom.home) == {}


def rubbish(seed: int) -> Iterator[str | bytes]:
    """Generate entries of a queue that are not wake-ups: bytes, JSON, and wake-ups that lack or change something."""
    random.seed(seed)
    whole = {"body": "W10=", "headers": {"task": "mailroom.ingest", "id": "1"}, "properties": {"delivery_tag": "1"}}
    yield from ("", "{", "null", "[]", "[" * 5000, "\x00", b"\xff\xfe", '"text"', "1e999", "NaN", json.dumps(whole))
    for _ in range(30):
        yield os.urandom(random.randrange(200))
        yield "".join(random.choices(string.printable, k=random.randrange(60)))
        broken = {name: value for name, value in whole.items() if random.random() < 0.7}
        place = random.choice(["body", "headers", "properties", "content-type"])
        yield json.dumps({**broken, place: random.choice([None, 3, "x", [], {}, {"id": [1]}, {"delivery_tag": {}}])})


def test_rubbish_in_the_queues_ends_no_worker(mailroom: Running) -> None:
    workers = [mailroom.role("celery", f"--queues={queues}").pid for queues in ("ingest", "deliver,reclassify")]
    client = mailroom.redis
    lists = [PREFIX + queue + step for queue in QUEUES for step in ("", "\x06\x163", "\x06\x166", "\x06\x169")]
    for number, name in enumerate(lists):
        client.lpush(name, *rubbish(number))
    client.hset(PREFIX + "unacked", "lost", "no JSON")
    client.zadd(PREFIX + "unacked_index", {"lost": 1})
    texts = letters("rubbish", 2)
    mailroom.drop(texts)
    mailroom.await_all(set(texts))
    wait_for(lambda: not any(client.llen(name) for name in lists), 120, "the rubbish to be dropped", mailroom)
    after = [mailroom.role("celery", f"--queues={queues}").pid for queues in ("ingest", "deliver,reclassify")]
    assert after == workers
    assert "is dropped" in (mailroom.home / "logs" / "workers.log").read_text()


def tampered(tmp_path: Path, head: bytes) -> tuple[Running, Path]:
    """Start and stop an installation, and put other bytes at the head of its broker's base file."""
    mailroom = Running(tmp_path / "data")
    with mailroom:
        mailroom.redis.set("key", "value")
    (base,) = (mailroom.home / "broker").rglob("*.base.rdb")
    base.write_bytes(head + base.read_bytes()[len(head) :])
    return mailroom, base


@pytest.mark.parametrize("head", [b"VALKEY999", b"REDIS0099", b"FUTURE001"])
def test_a_broker_of_another_version_is_refused_with_advice(tmp_path: Path, head: bytes) -> None:
    mailroom, base = tampered(tmp_path, head)
    process = mailroom.launch(tmp_path / "marker")
    try:
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert base.read_bytes().startswith(head)
    assert not any(mailroom.home.glob("broker-damaged-*"))
    output = (mailroom.home / "up.log").read_text()
    assert "broker.program" in output
    assert "written by another version" in output


def test_damaged_files_of_the_broker_are_set_aside(tmp_path: Path) -> None:
    mailroom, _ = tampered(tmp_path, b"nothing" * 5)
    with mailroom:
        assert any(mailroom.home.glob("broker-damaged-*"))
