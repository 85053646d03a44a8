"""The running API keeps to its OpenAPI description: schemathesis asks every operation what the description permits, and
what it forbids."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.running import wait_for
from tests.support.serving import client, make_mailroom, read_and_index, serving
from workers.queue.broker import server_command, socket_path

SETTINGS = Path(__file__).parent / "schemathesis.toml"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Serve an installation with a broker and a few documents; return its URL and an administrator's key."""
    limits = {"api.requests_per_second_per_key": "0", "api.wrong_keys_per_minute": "100000"}
    mailroom = make_mailroom(tmp_path, **limits)
    broker = subprocess.Popen(server_command(mailroom.settings), stdout=subprocess.DEVNULL)
    try:
        wait_for(socket_path(mailroom.settings).exists, 30, "the broker")
        with serving(mailroom) as url, client(url, mailroom, admin=True) as root:
            for number in range(3):
                fields = {"name": f"{number}.txt", "metadata": '{"department": "hr"}'}
                receipt = root.post("/v1/documents", content=f"letter {number}".encode(), params=fields).json()
                read_and_index(mailroom, receipt["id"], f"The notice period of lease {number} is three months.")
            yield url, root.headers["authorization"]
    finally:
        broker.terminate()
        broker.wait(20)
        mailroom.close()


@pytest.mark.timeout(600)
def test_every_operation_keeps_to_the_description(address: tuple[str, str]) -> None:
    url, key = address
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS), "run", f"{url}/openapi.json"]
    options = ["--phases", "examples,coverage,fuzzing", "--max-examples", "2", "--seed", "1", "--workers", "1"]
    limits = ["--request-timeout", "60", "--continue-on-failure", "--no-color", "--header", f"Authorization: {key}"]
    # These could end the key that the run itself uses.
    left_out = ["--exclude-path", "/v1/keys/{key_id}", "--exclude-path", "/v1/keys/{key_id}/rotate"]
    run = subprocess.run([*command, *options, *limits, *left_out], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
    assert "Tested: 0" not in run.stdout
