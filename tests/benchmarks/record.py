"""How every benchmark writes its result: tests/benchmarks/results/NAME.json, from which the README's tables are made."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def record(name: str, command: str, figures: Mapping[str, Any], seed: int | None = None, data: str = "") -> Path:
    """Write one result. ``data`` says in words what was measured on; ``figures`` are numbers, ratios where possible."""
    result = {
        "name": name,
        "command": command,
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "seed": seed,
        "machine": machine(),
        "data": data,
        "figures": figures,
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def record_part(name: str, part: str, values: Mapping[str, Any], command: str, seed: int | None, data: str) -> Path:
    """Write one part of a result that several benchmarks share; the other parts stay as they are. How each came about
    stands under "runs"."""
    path = RESULTS / f"{name}.json"
    result = json.loads(path.read_text()) if path.exists() else {"name": name}
    result[part] = values
    run = {"command": command, "commit": _commit(), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    run |= {"seed": seed, "machine": machine(), "data": data}
    result["runs"] = {**result.get("runs", {}), part: run}
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return path


def machine() -> str:
    """The machine in words: processor, cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {os.cpu_count()} shared cores, {memory:.0f} GiB, Python {platform.python_version()}"


def public_data() -> Path:
    """The folder of public data sets, from MAILROOM_DATA; ends the program with a sentence when it is not set."""
    folder = Path(os.environ.get("MAILROOM_DATA", ""))
    if not os.environ.get("MAILROOM_DATA") or not folder.is_dir():
        raise SystemExit(
            "set MAILROOM_DATA to the folder that holds classification/, files/, qa/, retrieval/ and text/"
        )
    return folder


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
