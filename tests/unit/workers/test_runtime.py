"""Broker, wake-ups, sweeper, watchdog, leases and failpoints, over a real Valkey server and a real catalogue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from indexes.open import open_catalogue
from pipeline.disk import ProcessLock
from pipeline.documents import Arrival, QueueName
from pipeline.errors import Misconfigured
from pipeline.faults import arm, fault
from workers.celery_worker.sweep import QUEUE_CAP, Sweeper
from workers.celery_worker.watchdog import IDLE_SECONDS, Watchdog
from workers.queue.broker import broker_url, server_command, server_program, socket_path
from workers.queue.lease import heartbeat
from workers.queue.notify import Notifier, connect
from workers.services.audit import AuditAnchor
from workers.settings import Settings, load_settings


def settings_of(home: Path) -> Settings:
    return load_settings({"data.path": str(home)}, environ={}).settings


@pytest.fixture(params=["short", "a path/with #signs%20 and " + "x" * 120])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    return settings_of(tmp_path / request.param)


@pytest.fixture
def broker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    server = subprocess.Popen(server_command(settings), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while True:
        try:
            connect(settings).ping()
            break
        except redis.RedisError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield server
    server.send_signal(signal.SIGCONT)
    server.kill()
    server.wait()


def test_the_pinned_server_comes_before_one_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a redis-server on the PATH, which may be unable to read the files of the pinned one: it is started only if
    a setting names it, and a program that does not exist is an error that names the setting."""
    other = tmp_path / "bin" / "redis-server"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}:{os.environ['PATH']}")
    assert server_program(settings_of(tmp_path)) != str(other)
    for program in ("redis-server", str(other)):
        named = load_settings({"data.path": str(tmp_path), "broker.program": program}, environ={}).settings
        assert server_program(named) == str(other)
    with pytest.raises(Misconfigured, match=r"broker\.program: nowhere"):
        server_program(load_settings({"broker.program": "nowhere"}, environ={}).settings)


def receive(settings: Settings, count: int) -> list[str]:
    catalogue = open_catalogue(settings.catalogue_url)
    for number in range(count):
        catalogue.documents.receive(f"{number:064x}", 1, Arrival("tray", f"{number}.txt", 0.0))
    return catalogue.jobs.due(QueueName.INGEST)


def test_wake_ups_arrive_however_long_the_path(settings: Settings, broker: subprocess.Popen[bytes]) -> None:
    notifier = Notifier(settings)
    assert notifier.send(QueueName.INGEST, "one")
    assert notifier.waiting() == {"ingest": 1, "deliver": 0, "reclassify": 0}
    assert len(os.fsencode(socket_path(settings))) <= 100
    assert broker_url(settings).startswith("redis+socket:///")
    assert (settings.home / "broker.sock").is_socket()
    config = connect(settings).config_get("*")
    assert (config["appendonly"], config["maxmemory-policy"], config["port"]) == ("yes", "noeviction", "0")


def test_a_lost_broker_never_fails_or_blocks_the_sender(tmp_path: Path) -> None:
    notifier = Notifier(settings_of(tmp_path / "nothing"))
    notifier.send(QueueName.INGEST, "zero")  # the first one imports the transport
    started = time.monotonic()
    assert not any(notifier.send(QueueName.INGEST, "one") for _ in range(20))
    assert notifier.waiting() is None
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("settings", ["short"], indirect=True)
def test_after_a_stalled_broker_the_sender_pauses(settings: Settings, broker: subprocess.Popen[bytes]) -> None:
    notifier = Notifier(settings)
    assert notifier.send(QueueName.INGEST, "one")
    broker.send_signal(signal.SIGSTOP)
    started = time.monotonic()
    assert not any(notifier.send(QueueName.INGEST, "two") for _ in range(20))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("settings", ["short"], indirect=True)
def test_the_sweeper_wakes_all_without_a_flood_and_again_after_a_loss(
    settings: Settings, broker: subprocess.Popen[bytes]
) -> None:
    receive(settings, QUEUE_CAP + 10)
    catalogue = open_catalogue(settings.catalogue_url)
    sweeper = Sweeper(catalogue.jobs, Notifier(settings), 0.5, AuditAnchor(catalogue.audit, settings.home))
    assert sweeper.sweep() == QUEUE_CAP
    assert sweeper.sweep() == 0
    connect(settings).flushall()
    assert sweeper.sweep() == QUEUE_CAP
    assert connect(settings).llen("mailroom:ingest") == QUEUE_CAP


@pytest.mark.parametrize("settings", ["short"], indirect=True)
def test_a_heartbeat_keeps_a_short_lease(settings: Settings) -> None:
    receive(settings, 1)
    job_store = open_catalogue(settings.catalogue_url).jobs
    (job,) = job_store.claim(QueueName.INGEST, "one", 0.6)
    with heartbeat(job_store, job, 0.6):
        time.sleep(1.2)
        assert job_store.claim(QueueName.INGEST, "two", 60) == []
    time.sleep(0.7)
    assert len(job_store.claim(QueueName.INGEST, "two", 60)) == 1


@pytest.mark.parametrize("settings", ["short"], indirect=True)
def test_a_stopped_worker_releases_its_job_uncounted(settings: Settings) -> None:
    receive(settings, 1)
    job_store = open_catalogue(settings.catalogue_url).jobs
    (job,) = job_store.claim(QueueName.INGEST, "one", 60)
    with pytest.raises(SystemExit), heartbeat(job_store, job, 60):
        sys.exit(0)
    (again,) = job_store.claim(QueueName.INGEST, "two", 60)
    assert again.attempt == 1
    assert not job_store.renew(job, 60)


def test_the_watchdog_reports_only_an_idle_worker() -> None:
    state = {"waiting": 0, "started": 0, "busy": False}
    watchdog = Watchdog(lambda: state["waiting"], lambda: state["started"], lambda: state["busy"])
    assert not watchdog.is_stuck(0) and not watchdog.is_stuck(IDLE_SECONDS * 2)  # nothing to do
    state["waiting"] = 3
    assert not watchdog.is_stuck(1000)
    state["started"] += 1  # it works
    assert not watchdog.is_stuck(1000 + IDLE_SECONDS)
    assert not watchdog.is_stuck(2000)
    state["busy"] = True  # a long document
    assert not watchdog.is_stuck(2000 + IDLE_SECONDS)
    state["busy"] = False
    assert not watchdog.is_stuck(3000)
    assert not watchdog.is_stuck(3000 + IDLE_SECONDS - 1)
    assert watchdog.is_stuck(3000 + IDLE_SECONDS)


def test_only_armed_failpoints_fail(tmp_path: Path) -> None:
    try:
        arm(f"a:error,b:eio:name,c:error@{tmp_path}/once")
        fault("other")
        fault("b", "something else")
        with pytest.raises(RuntimeError):
            fault("a")
        with pytest.raises(OSError, match="ordered at b"):
            fault("b", "the name of it")
        with pytest.raises(RuntimeError):
            fault("c")
        fault("c")
        with pytest.raises(ValueError, match="is not POINT"):
            arm("nonsense")
    finally:
        arm("")


def test_only_one_process_has_a_lock(tmp_path: Path) -> None:
    with ProcessLock(tmp_path / "lock", "It"):
        code = (
            "import sys; from pathlib import Path; from pipeline.disk import ProcessLock;"
            "ProcessLock(Path(sys.argv[1]), 'It').__enter__()"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
        assert "It is running already" in done.stderr
    with ProcessLock(tmp_path / "lock", "It"):
        pass
