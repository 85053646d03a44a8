"""The reason that is reported for a child that ended without an answer."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pipeline.parse import ParseLimits
from pipeline.parse.protocol import ChildExit
from pipeline.parse.sandbox import failure

LIMITS = ParseLimits(memory_mb=400, cpu_seconds=4)
SMALL, LARGE = 100_000, 390_000  # KiB


@pytest.mark.parametrize(
    ("child", "code"),
    [
        (ChildExit(signal.SIGKILL, True, SMALL, 0.5), "timeout"),
        (ChildExit(signal.SIGKILL, False, SMALL, 3.7), "timeout"),  # the kernel's clock is coarse
        (ChildExit(signal.SIGKILL, False, LARGE, 3.7), "memory"),
        (ChildExit(signal.SIGKILL, False, LARGE, 3.9), "timeout"),
        (ChildExit(signal.SIGKILL, False, SMALL, 1.0), "memory"),  # killed for the memory of the whole machine
        (ChildExit(signal.SIGSEGV, False, LARGE, 1.0), "memory"),
        (ChildExit(signal.SIGSEGV, False, SMALL, 1.0), "crashed"),
        (ChildExit(signal.SIGXFSZ, False, SMALL, 1.0), "output-limit"),
        (ChildExit(70 << 8, False, SMALL, 1.0), "crashed"),
        (None, "internal"),
    ],
)
def test_the_reason_of_a_child_s_end(child: ChildExit | None, code: str, tmp_path: Path) -> None:
    assert failure(child, tmp_path, LIMITS).code == code


def test_a_message_about_memory_decides(tmp_path: Path) -> None:
    (tmp_path / "stderr").write_text("MemoryError")
    assert failure(ChildExit(70 << 8, False, SMALL, 1.0), tmp_path, LIMITS).code == "memory"
