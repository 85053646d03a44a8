"""The disk under the index fills, or becomes read-only: search goes on, health reports it, and nothing is lost.

Each case runs in a process of its own with a small disk of its own (tmpfs in a user and mount namespace).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.needs import program

ROOT = Path(__file__).parents[2]
#: as a plain user, and as root where the kernel grants no user namespaces
NAMESPACES = (("unshare", "--user", "--map-root-user", "--mount"), ("unshare", "--mount"))

BEGIN = """
import subprocess, sys, time
from pathlib import Path
from indexes.state import folder_state
from pipeline.errors import Unavailable
from tests.unit.workers.test_writer import embedded, opened
from workers.api.health import HealthMonitor
from workers.cli import exits
from workers.cli.main import main

home = Path(sys.argv[1])
disk = home / "index"
disk.mkdir(parents=True)
mount = lambda *words: subprocess.run(["mount", *words], check=True)
mount("-t", "tmpfs", "-o", "size=8m", "none", str(disk))
mailroom = opened(home)
health = HealthMonitor(mailroom, mailroom.notifier)
writer = mailroom.indexer()
first = embedded(mailroom, 1)
assert writer.step() == 1
second = embedded(mailroom, 2)

def rebuild():
    return main(["--data", str(home), "index", "rebuild", "--no-wait"])

def states():
    return [mailroom.catalogue.documents.get(document).state.value for document in (first, second)]

def indexed_count():
    time.sleep(0.12)
    return len(mailroom.reader.snapshot().numbers)

def refusal():
    try:
        writer.step()
    except Unavailable as error:
        return error.code

def step_until_both():
    deadline = time.monotonic() + 60
    while states() != ["indexed", "indexed"] and time.monotonic() < deadline:
        writer.step()
        time.sleep(0.2)
"""

FULL = """
with (disk / "filler").open("wb", buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError:
        pass
assert folder_state(disk).name == "full" and health.measure().index == "full"
assert refusal() == "disk-full"
assert (indexed_count(), states()) == (1, ["indexed", "processing"])
(disk / "filler").unlink()
"""

READ_ONLY = """
mount("--bind", str(disk), str(disk))
mount("-o", "remount,bind,ro", str(disk))
assert folder_state(disk).name == "read-only" and health.measure().index == "read-only"
assert refusal() == "index-unavailable"
assert rebuild() == exits.UNAVAILABLE
assert (indexed_count(), states()) == (1, ["indexed", "processing"])
mount("-o", "remount,bind,rw", str(disk))
"""

END = """
step_until_both()
assert (indexed_count(), states()) == (2, ["indexed", "indexed"])
before = mailroom.reader.snapshot().generation
assert rebuild() == exits.OK
writer.step()
assert indexed_count() == 2 and mailroom.reader.snapshot().generation > before
assert not (disk / "rebuild.request").exists()
mailroom.catalogue.check()
mailroom.close()
"""


def _namespace() -> tuple[str, ...] | None:
    """Return a command that gives a process mounts of its own; None where the kernel grants none."""
    for command in NAMESPACES:
        mount = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
        if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
            return command
    return None


@program("unshare", "util-linux")
@program("mount", "mount")
@pytest.mark.parametrize("fault", [FULL, READ_ONLY], ids=["full", "read-only"])
def test_the_disk_of_the_index(fault: str, tmp_path: Path) -> None:
    if (namespace := _namespace()) is None:
        pytest.skip("the kernel lacks mount namespaces: root, or sysctl kernel.unprivileged_userns_clone=1, gives them")
    script = BEGIN + fault + END
    command = [*namespace, sys.executable, "-c", script, str(tmp_path / "data")]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
