"""Imports run one way: workers -> indexes -> pipeline, models -> pipeline; nothing that serves imports torch.

No two files import each other, and the composition root is imported by entry points only.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping, Set
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "pipeline": {"pipeline"},
    "indexes": {"indexes", "pipeline"},
    "models": {"models", "pipeline"},
    "workers": {"workers", "indexes", "pipeline", "models"},
}
#: What starts a process or a test builds a `Mailroom`; nothing else knows it.
ENTRY_POINTS = ("workers.run", "workers.supervisor", "workers.api", "workers.cli", "workers.demo", "tests")
TRAINING = {"torch", "transformers", "sentence_transformers", "sklearn", "onnx", "onnxscript"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@cache
def imports_of_files() -> Mapping[str, frozenset[str]]:
    """Return the project's own modules that each module imports, inside functions and under TYPE_CHECKING included."""
    paths = {module_of(path): path for package in (*MAY_IMPORT, "tests") for path in sources(package)}
    return {name: frozenset(modules(path, paths.keys())) for name, path in paths.items()}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules(path: Path, ours: Set[str]) -> set[str]:
    """Return which of ``ours`` a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (parts & ours) or {node.module}
    return names & ours


def test_no_two_files_import_each_other() -> None:
    try:
        TopologicalSorter(imports_of_files()).prepare()
    except CycleError as error:
        pytest.fail(f"an import cycle: {' -> '.join(error.args[1])}")


def test_the_composition_root_is_imported_by_entry_points_only() -> None:
    breaches = {
        name
        for name, imports in imports_of_files().items()
        if "workers.assemble" in imports and not name.startswith(ENTRY_POINTS)
    }
    assert breaches == set()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_run_one_way(package: str) -> None:
    breaches = {
        str(path.relative_to(ROOT)): sorted(ours)
        for path in sources(package)
        if (ours := imported(path) & set(MAY_IMPORT) - MAY_IMPORT[package])
    }
    assert breaches == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_the_serving_path_imports_no_training_package(package: str) -> None:
    breaches = {
        str(path.relative_to(ROOT)): sorted(training)
        for path in sources(package)
        if "recipes" not in path.parts and (training := imported(path) & TRAINING)
    }
    assert breaches == {}


def test_the_pipeline_knows_no_broker_no_sql_no_http_and_no_environment() -> None:
    forbidden = {"celery", "kombu", "redis", "sqlalchemy", "fastapi", "httpx", "alembic"}
    assert {str(p): imported(p) & forbidden for p in sources("pipeline") if imported(p) & forbidden} == {}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_each_package_name_belongs_to_our_distribution_alone(package: str) -> None:
    assert set(packages_distributions()[package]) == {"mailroom-documents"}


def test_the_switches_are_set_before_any_runtime_is_imported() -> None:
    """A fresh interpreter without the variables imports the composition root; unset ones would phone home."""
    code = (
        "import os, sys\n"
        "class Guard:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('onnxruntime', 'unstructured'):\n"
        "            assert os.environ.get('ORT_DISABLE_TELEMETRY') == '1' and os.environ.get('DO_NOT_TRACK'), name\n"
        "sys.meta_path.insert(0, Guard())\n"
        "import workers.assemble\n"
        "import onnxruntime\n"
    )
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run([sys.executable, "-c", code], env=bare, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_locks_and_durable_writes_live_in_one_module() -> None:
    words = ("flock(", "fsync(", "ENOSPC")
    files = {path for package in MAY_IMPORT for path in sources(package) if any(w in path.read_text() for w in words)}
    assert files == {ROOT / "pipeline" / "disk.py"}
