"""Commands that need no model start at once: they import little, and no runtime that they do not use.

Counted are modules, since seconds depend on the machine: `--help` needs 0.15 s of processor time for its 250, `status`
0.35 s for its 530.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: Packages that take long to import and that no such command needs.
RUNTIMES = {"onnxruntime", "faiss", "tantivy", "tokenizers", "unstructured", "pypdfium2", "PIL", "numpy"}
SERVERS = {"fastapi", "starlette", "uvicorn", "celery", "kombu", "redis", "prometheus_client", "alembic", "psycopg"}
STORES = {"sqlalchemy", "sqlite3"}
CODE = """
import sys
from workers.cli.main import main
code = main(sys.argv[1:])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def modules_of(*words: str) -> set[str]:
    """Run a command in a process of its own and return the modules that it imported."""
    command = [sys.executable, "-c", CODE, *words]
    # A measured process imports the measuring too.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    process = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert process.returncode in (0, 5), process.stderr  # `status` ends with 5 where nothing runs
    return set(process.stderr.splitlines()[-1].split())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a data folder whose catalogue exists; making it takes Alembic."""
    folder = str(tmp_path_factory.mktemp("data"))
    assert "alembic" in modules_of("--data", folder, "status")
    return folder


#: Commands without a store, and with the catalogue; each with the most modules that it may import.
PURE = {"--help": 300, "--version": 300, "index --help": 400, "config show": 400, "models list": 450}
STORED = dict.fromkeys(
    [
        "status",
        "list",
        "retry --failed",
        "access list",
        "groups list",
        "keys list",
        "queries list",
        "reclassify list",
        "taxonomy list",
    ],
    600,
)


@pytest.mark.parametrize("command", [*PURE, *STORED])
def test_a_command_imports_what_it_needs(data: str, command: str) -> None:
    modules = modules_of("--data", data, *command.split())
    without = RUNTIMES | SERVERS | {"httpx"} | (STORES if command in PURE else set())
    without |= {"pydantic"} if command in ("--help", "--version") else set()
    assert {name.partition(".")[0] for name in modules} & without == set()
    assert len(modules) <= {**PURE, **STORED}[command]


def test_a_command_of_a_server_imports_no_store() -> None:
    code = CODE.replace("sys.exit(code)", "")
    command = [sys.executable, "-c", code, "--url", "http://127.0.0.1:1", "access", "list"]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = {name.partition(".")[0] for name in process.stderr.splitlines()[-1].split()}
    assert names & {*RUNTIMES, *SERVERS, "sqlalchemy"} == set()
