"""`mailroom prove-offline`: 0 packets, red for a Mailroom that sends one, and honest where there are no namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import network_namespaces
from workers.cli import exits

ROOT = Path(__file__).parents[2]
MAIN = "from workers.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
WITHOUT_NAMESPACES = "from pipeline.parse import confine; assert confine.deny_system_calls(); "
#: Runs at the start of every Python process: all but the command itself send a packet.
LEAK = """
import socket, sys
if "prove-offline" not in sys.orig_argv:
    for host in ("198.51.100.7", "127.0.0.1"):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"text", (host, 9999))
"""


def prove(*words: str, code: str = MAIN, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, "prove-offline", *words]
    environ = {**os.environ, **environ}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=240)


@network_namespaces()
def test_nothing_leaves_and_the_control_is_seen() -> None:
    # A site's settings must not be followed: this store does not exist.
    process = prove("--documents", "3", MAILROOM_CATALOGUE__URL="postgresql://127.0.0.1:1/none")
    assert process.returncode == exits.OK, process.stdout + process.stderr
    assert "documents processed: 3 of 3" in process.stdout and "Mailroom, packets out: 0" in process.stdout
    assert "red, as it must be: null control" in process.stdout and "192.0.2.1:443 TCP" in process.stdout


@network_namespaces()
def test_a_mailroom_that_sends_is_red_and_the_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LEAK)
    process = prove("--documents", "1", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert process.returncode == exits.ERROR
    assert "error: packets-out: Mailroom would have sent" in process.stderr
    assert "198.51.100.7:9999 UDP" in process.stderr and "127.0.0.1" not in process.stderr


def test_without_namespaces_it_says_so() -> None:
    process = prove(code=WITHOUT_NAMESPACES + MAIN)
    assert process.returncode == exits.UNAVAILABLE
    assert process.stderr.startswith("error: no-namespaces: The kernel grants this user no network namespace; run it")


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_documents_prove_nothing(count: str) -> None:
    assert prove("--documents", count).returncode == exits.USAGE
