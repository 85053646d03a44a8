"""Run all benchmarks or the named ones: `python -m tests.benchmarks all`, `... throughput search_latency`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

NOT_BENCHMARKS = {
    "__init__",
    "__main__",
    "record",
    "tables",
    "corpus",
    "public_collections",
    "peers",
    "chunks",
    "scale_fill",
}


def main(names: list[str]) -> int:
    available = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_BENCHMARKS)
    chosen = available if names in ([], ["all"]) else names
    if unknown := set(chosen) - set(available):
        print(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(available)}")
        return 2
    return max(
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode for name in chosen
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
