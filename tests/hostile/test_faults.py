"""A parser that crashes, hangs or answers nonsense costs one document, not its owner (pipeline/parse/faults.py)."""

from __future__ import annotations

import io
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.documents import Parsed
from pipeline.errors import MailroomError, Rejected
from pipeline.parse import ParseLimits, SandboxedParser, confine
from tests.hostile.conftest import Listener

LIMITS = ParseLimits(memory_mb=400, cpu_seconds=4, wall_seconds=8.0, max_output_bytes=1 << 20)
GOOD = b"The next document is parsed unharmed."


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxedParser]:
    parser = SandboxedParser(LIMITS, scratch=tmp_path_factory.mktemp("scratch"), faults=True)
    parser.parse(io.BytesIO(GOOD), "warm.txt")
    yield parser
    parser.close()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("segv", "crashed"),
        ("exit0", "crashed"),
        ("short", "crashed"),
        ("lie", "crashed"),
        ("oom", "memory"),
        ("spin", "timeout"),
        ("sleep", "timeout"),
        ("fork", "crashed"),
        ("flood", "output-limit"),
        ("stderr", "crashed"),
    ],
)
def test_a_fault_is_contained(fault: str, code: str, faulty: SandboxedParser) -> None:
    before, begin = psutil.Process().memory_info().rss, time.monotonic()
    with pytest.raises(Rejected) as caught:
        faulty.parse(io.BytesIO(b"x-fault:" + fault.encode()), "fault.bin")
    assert caught.value.code == code
    assert time.monotonic() - begin < LIMITS.wall_seconds + 5
    assert psutil.Process().memory_info().rss - before < 64 << 20
    assert faulty.parse(io.BytesIO(GOOD), "good.txt").text == GOOD.decode()
    assert descendants_below_zygote() == []


def descendants_below_zygote() -> list[int]:
    """Return the processes of documents that still run after 5 s, without the warm process and zombies."""
    deadline = time.monotonic() + 5
    while True:
        running = [d.pid for zygote in _zygotes() for d in zygote.children(recursive=True) if _alive(d)]
        if not running or time.monotonic() > deadline:
            return running
        time.sleep(0.05)


def _zygotes() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if "pipeline.parse.zygote" in " ".join(_command(c))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _missing_layers(parser: SandboxedParser) -> str:
    support = parser._zygote.support
    layers = {
        "network_isolated": "user and network namespaces (sysctl kernel.unprivileged_userns_clone=1)",
        "landlock": "Landlock (Linux 5.13 or later, lsm=landlock)",
    }
    return "; ".join(how for layer, how in layers.items() if not getattr(support, layer))


def test_a_fault_is_plain_text_for_an_ordinary_parser(parser: SandboxedParser) -> None:
    assert parser.parse(io.BytesIO(b"x-fault:segv"), "fault.txt").text == "x-fault:segv"


def test_the_child_reaches_no_network_and_writes_nowhere_else(faulty: SandboxedParser, listener: Listener) -> None:
    """Where the kernel grants every layer, a child that tries is refused."""
    assert faulty.sandbox_level in {"strong", "medium", "weak"}
    if faulty.sandbox_level != "strong":
        pytest.skip(f"the kernel lacks what a strong sandbox needs: {_missing_layers(faulty)}")
    port = listener.url.rsplit(":", 1)[1].split("/")[0]
    outside = Path("/tmp/mailroom-escaped")
    outside.unlink(missing_ok=True)
    for fault in (f"network {port}", "write", "secret"):
        with pytest.raises(Rejected) as caught:
            faulty.parse(io.BytesIO(b"x-fault:" + fault.encode()), "fault.bin")
        assert caught.value.code == "crashed"
    assert listener.calls == 0
    assert not outside.exists()


def test_the_warm_process_is_replaced_when_it_dies(faulty: SandboxedParser) -> None:
    warm = _zygotes()[0]
    for process in _zygotes():
        process.kill()
        process.wait(5)
    assert not warm.is_running()
    assert faulty.parse(io.BytesIO(GOOD), "good.txt").text == GOOD.decode()


def test_a_death_of_the_warm_process_is_not_blamed_on_the_document(faulty: SandboxedParser) -> None:
    faulty.parse(io.BytesIO(GOOD), "good.txt")
    caught: list[BaseException] = []

    def read() -> None:
        try:
            faulty.parse(io.BytesIO(b"x-fault:sleep"), "fault.bin")
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.5)
    for process in _zygotes():
        process.kill()
    thread.join(10)
    assert [type(error) for error in caught] == [MailroomError]
    assert faulty.parse(io.BytesIO(GOOD), "good.txt").text == GOOD.decode()


def test_threads_share_one_parser(faulty: SandboxedParser) -> None:
    results: list[Parsed] = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(faulty.parse(io.BytesIO(b"text number %d" % n), f"{n}.txt")))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.text for r in results) == sorted(f"text number {n}" for n in range(8))


def test_a_forked_owner_gets_its_own_warm_process(faulty: SandboxedParser) -> None:
    """Fork after the parent has parsed, as Celery's prefork pool does."""
    faulty.parse(io.BytesIO(GOOD), "good.txt")
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = faulty.parse(io.BytesIO(GOOD), "good.txt").text
            os.write(writer, text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 1000) == GOOD
    os.close(reader)
    assert faulty.parse(io.BytesIO(GOOD), "good.txt").text == GOOD.decode()


def test_without_namespaces_the_label_is_honest_and_documents_are_read(tmp_path: Path) -> None:
    """Expect a lower level and the same outcomes where a container refuses namespaces."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            assert confine.deny_system_calls()  # unshare is among them
            limited = SandboxedParser(LIMITS, scratch=tmp_path, faults=True)
            outcomes = [limited.sandbox_level, limited.parse(io.BytesIO(GOOD), "good.txt").text]
            for fault in ("segv", "fork"):
                try:
                    limited.parse(io.BytesIO(b"x-fault:" + fault.encode()), "fault.bin")
                except Rejected as error:
                    outcomes.append(error.code)
            os.write(writer, "|".join(outcomes).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    level, *outcomes = os.read(reader, 1000).decode().split("|")
    os.close(reader)
    assert level == ("medium" if confine.landlock_abi() else "weak")
    assert outcomes == [GOOD.decode(), "crashed", "crashed"]


def test_the_warm_process_ends_with_its_owner(tmp_path: Path) -> None:
    """Kill the owner: warm process, monitor and child are gone within seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            owner = SandboxedParser(LIMITS, scratch=tmp_path, faults=True)
            owner.parse(io.BytesIO(GOOD), "good.txt")
            os.write(writer, b"ready")
            owner.parse(io.BytesIO(b"x-fault:sleep"), "fault.bin")
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 5) == b"ready"
    time.sleep(0.3)
    family = psutil.Process(child).children(recursive=True)
    assert len(family) >= 3
    os.kill(child, 9)
    os.waitpid(child, 0)
    os.close(reader)
    _, running = psutil.wait_procs(family, timeout=8)
    assert [process for process in running if _alive(process)] == []
