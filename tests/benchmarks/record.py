"""Write the results of benchmarks to tests/benchmarks/results/NAME.json, from which docs/figures.md is made."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def record(name: str, command: str, figures: Mapping[str, Any], seed: int | None = None, data: str = "") -> Path:
    """Write one result. ``data`` describes the data in words; ``figures`` are numbers, ratios where possible."""
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
    """Write one part of a result that several benchmarks share; the other parts stay as they are.

    The run that made each part is recorded under "runs".
    """
    path, result = _stored(name)
    result[part] = values
    result["runs"] = {**result.get("runs", {}), part: _run(command, seed, data)}
    _write(path, result)
    return path


def record_figures(
    name: str,
    part: str,
    figures: Mapping[str, Mapping[str, Any]],
    columns: Sequence[str],
    command: str,
    seed: int | None,
    data: str,
) -> Path:
    """Add figures to a part that is a table {row: {column: figure}} with ``columns`` in this order.

    The other figures keep the run that measured them. The run of the new ones is recorded under "later" of the part's
    run, with the names of its figures.
    """
    path, result = _stored(name)
    table = result.setdefault(part, {})
    for row, own in figures.items():
        merged = {**table.get(row, {}), **own}
        table[row] = {column: merged[column] for column in columns if column in merged}
    measured = {row: list(own) for row, own in figures.items()}
    runs = result.setdefault("runs", {})
    if part not in runs:
        runs[part] = _run(command, seed, data)
        _write(path, result)
        return path
    base = runs[part]
    reduced = [_without(run, measured) for run in base.get("later", [])]
    base["later"] = [run for run in reduced if run["figures"]]
    run = _run(command, seed, data)
    same = [later for later in base["later"] if {**later, "figures": None} == {**run, "figures": None}]
    if same:
        for row, columns in measured.items():
            same[0]["figures"][row] = [*same[0]["figures"].get(row, []), *columns]
    elif {**base, "later": None} != {**run, "later": None}:
        base["later"].append(run | {"figures": measured})
    runs[part] = _whole(base, table)
    _write(path, result)
    return path


def _whole(base: Mapping[str, Any], table: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the part's run; if later ones measured everything again, the last of them takes its place."""
    later = base["later"]
    if not later:
        return {key: value for key, value in base.items() if key != "later"}
    repeated = {(row, column) for run in later for row, columns in run["figures"].items() for column in columns}
    if {(row, column) for row, columns in table.items() for column in columns} - repeated:
        return dict(base)
    last = {key: value for key, value in later[-1].items() if key != "figures"}
    return last | ({"later": later[:-1]} if later[:-1] else {})


def _without(run: Mapping[str, Any], measured: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return an earlier run without the figures that were measured again."""
    remaining = {row: [c for c in columns if c not in measured.get(row, ())] for row, columns in run["figures"].items()}
    return {**run, "figures": {row: columns for row, columns in remaining.items() if columns}}


def _stored(name: str) -> tuple[Path, dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return path, json.loads(path.read_text()) if path.exists() else {"name": name}


def _write(path: Path, result: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def _run(command: str, seed: int | None, data: str) -> dict[str, Any]:
    run = {"command": command, "commit": _commit(), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    return run | {"seed": seed, "machine": machine(), "data": data}


def machine() -> str:
    """Return the machine in words: processor, cores, memory, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {os.cpu_count()} shared cores, {memory:.0f} GiB, Python {platform.python_version()}"


def public_data() -> Path:
    """Return the folder of public data sets, from MAILROOM_DATA; exit with a message if it is not set."""
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
