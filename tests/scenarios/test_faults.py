"""Kill what can be killed, stop what can be stopped: every document ends, once, without an operator."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.documents import QueueName, State
from tests.scenarios.running import Running, letters, wait_for
from workers.queue.notify import Notifier


@pytest.fixture(scope="module")
def mailroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run one installation for all tests here, so that the faults add up."""
    with Running(tmp_path_factory.mktemp("mailroom") / "data") as running:
        yield running


def test_letters_from_the_tray_are_indexed(mailroom: Running) -> None:
    texts = letters("first", 4)
    mailroom.drop({**texts, "again.txt": texts["first-0.txt"]})
    documents = mailroom.await_all({*texts, "again.txt"})
    assert documents["again.txt"].content_hash == documents["first-0.txt"].content_hash
    assert {d.state for d in mailroom.documents().values()} <= {State.INDEXED, State.REVIEW}
    mailroom.check_once()
    assert [p.name for p in mailroom.tray.iterdir() if p.is_file()] == []


def test_a_killed_child_loses_nothing(mailroom: Running) -> None:
    texts = letters("child", 12)
    mailroom.drop(texts)
    for _ in range(3):
        time.sleep(random.uniform(0.2, 0.8))
        with contextlib.suppress(LookupError, IndexError, psutil.Error):  # the pool is just filling up again
            random.choice(mailroom.children()).kill()
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_killed_worker_loses_nothing_and_leaves_no_child(mailroom: Running) -> None:
    texts = letters("parent", 8)
    mailroom.drop(texts)
    wait_for(lambda: len(mailroom.documents()) > 20, 180, "the arrivals", mailroom)
    worker = mailroom.role("--queues=ingest")
    children = worker.children()
    worker.kill()  # the parent alone: its children have to end by themselves
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_killed_writer_loses_nothing(mailroom: Running) -> None:
    texts = letters("writer", 6)
    mailroom.drop(texts)
    for _ in range(2):
        time.sleep(0.7)
        mailroom.role("workers.run", " writer ").kill()
        wait_for(lambda: bool(find(mailroom, "workers.run", " writer ")), 180, "the writer", mailroom)
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_broker_that_forgets_everything(mailroom: Running) -> None:
    texts = letters("flush", 8)
    mailroom.drop(texts)
    for _ in range(4):
        time.sleep(0.3)
        mailroom.redis.flushall()
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_suspended_broker(mailroom: Running) -> None:
    texts = letters("suspended", 6)
    broker = mailroom.broker
    broker.suspend()
    try:
        mailroom.drop(texts)
        wait_for(lambda: set(texts) <= set(mailroom.documents()), 180, "arrivals without a broker", mailroom)
    finally:
        broker.resume()
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_killed_broker_comes_back(mailroom: Running) -> None:
    texts = letters("broker", 6)
    mailroom.broker.kill()
    mailroom.drop(texts)
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_the_same_notification_many_times(mailroom: Running) -> None:
    texts = letters("double", 6)
    mailroom.drop(texts)
    notifier, job_store = Notifier(mailroom.settings), mailroom.catalogue.jobs
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        for job in job_store.due(QueueName.INGEST) * 5:
            notifier.send(QueueName.INGEST, job)
        time.sleep(0.05)
    notifier.send(QueueName.INGEST, "no-such-job")
    mailroom.await_all(set(texts))
    mailroom.check_once()


def test_a_second_supervisor_is_refused(mailroom: Running, tmp_path: Path) -> None:
    second = mailroom.launch(tmp_path / "marker")
    assert second.wait(20) != 0
    assert not (tmp_path / "marker").exists()
    assert "is running already" in (mailroom.home / "up.log").read_text()
    os.kill(mailroom.process.pid, 0)


def test_stopping_hands_the_work_back(tmp_path: Path) -> None:
    """Stop in the middle of a document: all processes end, no attempt is counted, the next start finishes it."""
    slow = "parse.before:sleep=8"
    with Running(tmp_path / "data", fault=slow) as mailroom:
        mailroom.drop(letters("slow", 1))
        wait_for(lambda: leased(mailroom) == 1, 180, "the claim", mailroom)
        started = time.monotonic()
        assert mailroom.stop() == []
        assert time.monotonic() - started < 15  # 8 by design; the rest is for a machine that is busy with other things
        assert leased(mailroom) == 0
        (job,) = mailroom.catalogue.jobs.claim(QueueName.INGEST, "test", 1)
        assert job.attempt == 1
        mailroom.process = mailroom.launch(tmp_path / "again")
        wait_for((tmp_path / "again").exists, 180, "the second start", mailroom)


def test_a_poison_document_is_quarantined_and_harms_no_other(tmp_path: Path) -> None:
    with Running(tmp_path / "data", fault="parse.before:kill:poison", workers__lease_seconds="2") as mailroom:
        texts = letters("good", 5)
        mailroom.drop({"poison.txt": "This text kills whoever reads it, on every attempt.", **texts})
        good = mailroom.await_all(set(texts))
        assert {good[name].state for name in texts} <= {State.INDEXED, State.REVIEW}
        poison = mailroom.await_all({"poison.txt"})["poison.txt"]
        assert (poison.state, poison.reason) == (State.QUARANTINED, "attempts-exhausted")
        mailroom.check_once()
        wait_for((mailroom.tray / "failed" / "poison.txt").exists, 180, "the copy in failed/", mailroom)
        assert "attempts-exhausted" in (mailroom.tray / "failed" / "poison.txt.reason.txt").read_text()


def test_a_killed_supervisor_takes_all_with_it(tmp_path: Path) -> None:
    with Running(tmp_path / "data") as mailroom:
        family = mailroom.family()
        mailroom.process.send_signal(signal.SIGKILL)
        mailroom.process.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert [" ".join(p.cmdline()) for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []
        mailroom.process = mailroom.launch(tmp_path / "again")
        wait_for((tmp_path / "again").exists, 180, "the second start", mailroom)


def leased(mailroom: Running) -> int:
    return sum(row["count"] for row in mailroom.catalogue.jobs.backlog() if row["state"] == "leased")


def find(mailroom: Running, *words: str) -> psutil.Process | None:
    try:
        return mailroom.role(*words)
    except LookupError:
        return None
