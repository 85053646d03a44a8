"""All benchmarks, or those named: `python -m tests.benchmarks all` or `... throughput search_latency`."""

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
    known = sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in NOT_BENCHMARKS)
    chosen = known if names in ([], ["all"]) else names
    if unknown := set(chosen) - set(known):
        print(f"no benchmark named {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
        return 2
    return max(
        subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode for name in chosen
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
